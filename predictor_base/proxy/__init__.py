"""The proxy before a ready-made container: its requests are counted, wait for their turn and are forwarded."""
