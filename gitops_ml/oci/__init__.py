"""Images as values, and the registry: references, manifests, layers, signatures. Builds nothing.

A call that reaches a registry raises `Refused` where the registry refuses it, and `ServerFailed` where
the registry fails or cannot be reached. What reads a manifest, an index or a config raises `BadManifest`, and what
reads an archive `BadArchive`.
"""
