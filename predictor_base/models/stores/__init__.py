"""Where models are fetched from."""
