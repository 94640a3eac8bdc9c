"""The user's own configuration: which secret may go to which server."""
