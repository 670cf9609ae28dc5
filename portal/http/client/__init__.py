"""The client side of HTTP: from an address to a request, and from a response to a result."""
