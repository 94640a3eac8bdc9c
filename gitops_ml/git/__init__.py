"""A bare clone: objects, commits, branches, pushes; and the user's checkout.

It does not know what the files of a GitOps repository mean. A call that starts git raises `ProgramFailed` where git
is not installed, fails or takes too long, or where a damaged clone cannot be made again. One that reaches the
server raises `Refused` for credentials, a protected branch or a hook, `ServerFailed` where it cannot be reached or
has no such repository, and `RepositoryMoved` where the branch moved. An address, a branch, a variable or a place
that is not valid for a repository or its token is `UsageError`.
"""
