"""The WebSocket portal: JSON-RPC 2.0 over WebSockets, in both directions, and topics."""
