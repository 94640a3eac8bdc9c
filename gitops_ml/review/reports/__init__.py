"""A review as text: for people one file each, and `formats` for forges and programs."""
