"""The user's class: load, describe, check and wrap it. Knows no HTTP."""
