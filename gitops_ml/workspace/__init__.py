"""The project at hand: files found, read and resolved; the clients that commands use."""
