"""Collect the source of a class of a live session into a folder. Do not render or deploy it."""
