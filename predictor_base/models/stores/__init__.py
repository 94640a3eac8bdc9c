"""Stores of models: local files, object stores, the Hugging Face Hub, the web, registries."""
