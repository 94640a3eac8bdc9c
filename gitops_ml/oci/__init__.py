"""Images as values, and the registry: references, manifests, layers, signatures. Builds nothing."""
