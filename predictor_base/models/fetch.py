"""`python -m predictor_base.models.fetch`: the command of the chart's init container.

Rendered releases contain this name, so it does not change.
"""

import sys

from predictor_base.models.stores.fetch import main

if __name__ == "__main__":
    sys.exit(main())
