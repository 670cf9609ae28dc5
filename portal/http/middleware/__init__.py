"""Middleware around HTTP requests."""
