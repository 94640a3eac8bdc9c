"""One neighbour each: files, git, the Docker engine, the registry, Helm."""
