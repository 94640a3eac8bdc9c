"""The runtime inside a predictor's image: it serves one class of the user over HTTP.

A predictor does not have to import it. `HTTPError` answers with another status:

    from predictor_base import HTTPError
    raise HTTPError(404, "no such customer")
"""

from predictor_base.errors import HTTPError

__all__ = ["HTTPError", "__version__"]

__version__ = "0.1.0"
