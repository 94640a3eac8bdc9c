"""`python -m gitops_ml` is `gitops-ml`."""

import os
import sys

# Python puts the folder that we are in first: a project's yaml.py is not for us to import.
if sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109 - pathlib would be looked for there
    del sys.path[0]

from gitops_ml.cli.main import main

main()
