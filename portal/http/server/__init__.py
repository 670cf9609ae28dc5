"""Calls decoded from HTTP requests and encoded as HTTP responses."""
