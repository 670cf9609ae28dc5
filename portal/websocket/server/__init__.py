"""The server side of WebSocket connections: calls, streams, subscriptions and the reserved methods."""
