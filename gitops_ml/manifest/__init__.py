"""The API manifest as written, and Cortex's spellings of it. Pure."""
