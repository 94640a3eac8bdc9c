"""Model artifacts in a registry."""
