"""A folder of the search path: processes that a pool starts anew find the predictor's module in it."""
