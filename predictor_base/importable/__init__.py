"""A folder of the search path: processes that a pool spawns find the predictor's module in it."""
