"""The user's class: load, describe, check and wrap it. Knows no HTTP.

A class that cannot be served raises StartFailure.
"""
