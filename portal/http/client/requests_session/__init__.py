"""Requests through a session of the requests library, in threads that their callers need not wait for."""
