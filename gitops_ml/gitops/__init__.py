"""Content of the GitOps repository: layout, release files, Argo CD objects, diff, history."""
