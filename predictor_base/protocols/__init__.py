"""Protocols besides plain HTTP: Open Inference, OpenAI, gRPC."""
