"""Python packages: requirements, lock, resolver, index, wheels. It does not know images."""
