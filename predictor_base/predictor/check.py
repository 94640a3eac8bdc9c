"""`python -m predictor_base.predictor.check`: check whether a predictor can be served, without constructing it.

It imports the module, finds the class, and checks the arguments of its methods. It does not call
the constructor, so no model is loaded.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from predictor_base.errors import RuntimeFailure
from predictor_base.predictor.loader import check_class, load_class
from predictor_base.settings import Settings

_MOST_LINES = 12


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Check the predictor of the settings in the current folder, and print what is wrong."""
    try:
        settings = Settings.from_environ(environ)
        check_class(load_class(settings, folder=Path.cwd()), settings)
    except RuntimeFailure as failure:
        print(failure, file=sys.stderr)
        return 3
    except BaseException:  # noqa: BLE001 - also what a module's `sys.exit` raises
        # Any error of the module's import; the user's frames are useful, the runtime's are not.
        lines = traceback.format_exc().strip().splitlines()
        shown = [line for line in lines if "importlib" not in line and "predictor_base" not in line]
        print("\n".join(shown[-_MOST_LINES:]), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
