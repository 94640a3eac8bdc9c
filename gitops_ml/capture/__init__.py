"""A class of a live session becomes a folder of source."""
