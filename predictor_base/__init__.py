"""The server that runs inside a predictor's image: one class of the user's, served over HTTP.

A predictor needs nothing from here. `HTTPError` is for those that want to answer with a status of their own:

    from predictor_base import HTTPError
    raise HTTPError(404, "no such customer")
"""

from predictor_base.errors import HTTPError

__all__ = ["HTTPError", "__version__"]

__version__ = "0.1.0"
