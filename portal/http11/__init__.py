"""HTTP/1.1 grammar without I/O: heads, chunked bodies, header fields, dates, entity tags."""
