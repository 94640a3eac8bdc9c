"""Processes, files, the cache, packaged resources. Knows nothing of the documents."""
