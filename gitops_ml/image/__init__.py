"""The predictor image: context, content hash, recipe, builders, documents.

A call that reaches a registry or a package index raises `Refused` where the server refuses it, and
`ServerFailed` where it fails or cannot be reached. One that builds raises `EngineFailed` where no Docker engine
answers or a build in it fails, and `GitopsMlError` where a wheel is not available, a file changed meanwhile, or the
disk is full.
"""
