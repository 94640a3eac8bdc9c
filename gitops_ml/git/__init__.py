"""A bare clone: objects, commits, branches, pushes. Knows no layout."""
