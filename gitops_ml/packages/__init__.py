"""Python packages: requirements, lock, resolver, index, wheels. Knows no image."""
