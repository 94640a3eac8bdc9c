"""Metrics, traces, the log, prediction events."""
