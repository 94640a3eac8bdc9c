"""Calls of predict: the queue, threads, batches and time limits. Knows no HTTP."""
