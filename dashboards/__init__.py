"""Grafana dashboards as Python, built with Grafana's own library; `make dashboards` writes them as JSON."""
