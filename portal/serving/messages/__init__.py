"""Requests and responses as applications see them, and what the listener rejects itself."""
