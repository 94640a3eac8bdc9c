"""Protocols besides plain HTTP: Open Inference, OpenAI, gRPC.

What does not follow its protocol raises BadRequest.
"""
