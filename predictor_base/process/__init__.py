"""Processes and signals: sockets, workers, probes."""
