"""The verbs of gitops-ml, each from start to end.

A verb takes a workspace and `Clients`, and returns a value. Nothing is printed here. Every verb raises
`InvalidDocument` where a document or file of the project is wrong; `UsageError` where a release, an
environment or the GitOps repository is not named or does not exist; `Refused` and `ServerFailed` where
a server refuses or cannot be reached; and `RepositoryMoved` where the GitOps repository holds what
gitops-ml did not write or its branch moved at each attempt. Docstrings list only what is special.

Each module is imported by its command alone, so that the command line starts fast.
"""
