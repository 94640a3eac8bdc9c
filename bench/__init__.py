"""Measurements, each with a peer or a target beside it."""
