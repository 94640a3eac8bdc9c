"""The predictor's file as a module, under Cortex's name of it: what a pool pickles names this module."""

import importlib.util
import os
import sys

_spec = importlib.util.spec_from_file_location(__name__, os.environ["PREDICTOR_MODULE_FILE"])
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[__name__] = _module
_spec.loader.exec_module(_module)
