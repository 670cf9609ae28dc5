"""The client side of WebSockets: one reading thread, connections that come back, functions, streams, subscriptions."""
