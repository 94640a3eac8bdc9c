"""YAML with places, JSON Schema, findings, quantities. Pure: no disk, network, clock or environment."""
