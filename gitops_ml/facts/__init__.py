"""The results of the verbs as plain data: `--output json` of the command line and `to_dict()` in Python."""
