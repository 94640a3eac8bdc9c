"""Calls of predict: the queue, threads, batches and time limits. Knows no HTTP.

A call that is not answered raises QueueFull, NotReady, TimedOut or ClientGone; one that fails, PredictFailed or
the predictor's own HTTPError.
"""
