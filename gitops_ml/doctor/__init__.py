"""Check what gitops-ml needs from this machine, Git, the forge, the registry and the clusters; change nothing."""
