"""The user's class: loaded, described, checked, wrapped. Knows no HTTP."""
