"""Model artifacts in a registry. Errors of registries as in `gitops_ml.oci`."""
