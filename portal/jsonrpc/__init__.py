"""JSON-RPC 2.0: messages, method names and the OpenRPC document, without I/O."""
