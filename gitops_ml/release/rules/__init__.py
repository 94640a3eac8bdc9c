"""Rules between fields of a release, one module a subject."""
