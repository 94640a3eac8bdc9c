"""A review as text: for people, forges and programs, one file each."""
