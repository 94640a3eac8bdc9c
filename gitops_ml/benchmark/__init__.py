"""Measure an API under load: the requests, their figures, and the picture of them."""
