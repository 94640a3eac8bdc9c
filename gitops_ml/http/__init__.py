"""The HTTP client: connections, retries, TLS, proxies, deadlines. Knows no server by name."""
