"""The model clients that a predictor's constructor receives."""
