"""Decisions: no disk, no network, no clock, no environment variables in here."""
