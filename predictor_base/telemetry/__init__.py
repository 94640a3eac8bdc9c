"""Metrics, traces, logs, prediction events."""
