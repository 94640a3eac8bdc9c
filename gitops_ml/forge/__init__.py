"""Pull requests on GitHub, GitLab, Gitea and Bitbucket: one file a forge.

A call to a forge raises `Refused` where the forge refuses it (token, scope, protected branch): `NotThere` where
there is no such thing, `Unacceptable` where the forge understands it and does not accept it. `ServerFailed` is one
that cannot be reached, fails, or wants a longer wait; a forge, a repository or a token that is not valid is
`UsageError`.
"""
