"""Rules about changes: what a change may do, each with severity, reason and remedy. Pure."""
