"""Compare two states of a project, and say what the change does to its releases."""
