"""The predictor image: context, content hash, recipe, builders, documents.

A call that reaches a registry or a package index raises `Refused` where the server refuses it, and
`ServerFailed` where it fails or cannot be reached.
"""
