"""What a predictor's constructor gets to ask its models."""
