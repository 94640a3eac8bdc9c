"""Other protocols than plain HTTP: Open Inference, OpenAI, gRPC."""
