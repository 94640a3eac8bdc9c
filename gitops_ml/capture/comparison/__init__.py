"""Compare a package with the session: what a class uses there and here, and what it answers."""
