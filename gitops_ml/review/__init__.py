"""Compare two states of a project, and say what the change does to its releases.

A state that cannot be read at all raises `UsageError` or `InvalidDocument`; so do several projects in one place, an
environment that no state has, and files with advisories or traffic that cannot be read.
"""
