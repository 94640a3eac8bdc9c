"""From planned releases to a commit or pull request: plan, change, push with retry.

What a manifest, a policy or the chart forbids is `InvalidDocument`, and so is a release that is not whole. What
another project has in the GitOps repository, or what moved there, is `RepositoryMoved`; a choice or a project file
that does not allow a call is `UsageError`; a broken rule of severity ``error`` is `RulesBroken`. A model or an
image that the registry lacks is `Refused`.
"""
