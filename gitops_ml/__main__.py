"""`python -m gitops_ml` is `gitops-ml`."""

from gitops_ml.cli.main import main

main()
