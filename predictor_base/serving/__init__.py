"""Predicting: the queue, threads, batches and waiting. Knows no HTTP."""
