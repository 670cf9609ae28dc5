"""The path of a call on either side of a transport: middleware, dispatch, deadlines, streams, single flight."""
