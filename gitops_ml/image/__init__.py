"""The predictor image: context, content hash, recipe, builders, documents."""
