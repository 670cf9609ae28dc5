"""OpenSSL's error queue, which has to be empty before each operation on a TLS connection.

Each thread has one queue for all its connections. From OpenSSL 3.2 on, a read or write that fails with an error of the
system leaves it there. CPython does not remove it (github.com/python/cpython/issues/148594). The next operation of that
thread which has to wait, on any connection, then fails with the error of the broken one. User code in the same
thread may have broken a connection as well.

Source: OpenSSL, SSL_get_error(3): "The current thread's error queue must be empty before the TLS/SSL I/O operation is
attempted".
"""

from __future__ import annotations

import ssl

__all__ = ["clear_error_queue"]

_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def clear_error_queue() -> None:
    """Empty the OpenSSL error queue of the current thread; this takes about a microsecond.

    CPython does not offer this by itself. It empties the queue when it raises an SSLError, and it raises one for text
    that is not a certificate.

    Threads: any.
    """
    try:
        _context.load_verify_locations(cadata=b"0")
    except ssl.SSLError:
        return
