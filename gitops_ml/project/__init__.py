"""The project file `gitops-ml.yaml`. Pure."""
