"""Drives `predictor_base`: serve, check, describe. Never imports it."""
