"""HTTP: requests, payloads, streams. The only room with status codes."""
