"""OpenSSL's error queue, which has to be empty before each operation on a TLS connection.

Each thread has one queue for all its connections. From OpenSSL 3.2 on, a read or write that fails with an error of the
system leaves it there. CPython does not remove it (github.com/python/cpython/issues/148594). The next operation of that
thread which has to wait, on any connection, then fails with the error of the broken one: an SSLError, from CPython 3.15
on also BrokenPipeError and the like. User code in the same thread may have broken a connection as well.

Source: OpenSSL, SSL_get_error(3): "The current thread's error queue must be empty before the TLS/SSL I/O operation is
attempted".
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TypeVar

__all__ = ["NOT_READY", "clear_error_queue", "repeat_operation"]

#: The operation has to wait for the socket.
NOT_READY = (ssl.SSLWantReadError, ssl.SSLWantWriteError)

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")

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


def repeat_operation(operation: Callable[[_Argument], _Result], argument: _Argument, error: OSError) -> _Result:
    """Repeat a read or write that has failed, as the error may be one that another connection left in the queue.

    An operation that does not have to wait ignores the queue. So this is cheaper than to empty the queue before each
    one. Python has emptied it when it raised an SSLError, but not for other errors. A connection that is broken fails
    again.

    Args:
        operation: the method of the TLS object.
        argument: the same argument again.
        error: what the first attempt raised.

    Returns: what the operation returns.
    Raises: `NOT_READY` if it has to wait; `error` if it fails again, or if the connection has ended: after an alert of
        the peer a second read only tells of the end.

    Threads: the one that made the first attempt.
    """
    try:
        if isinstance(error, NOT_READY):
            raise error
        if not isinstance(error, ssl.SSLError):
            clear_error_queue()
        try:
            result = operation(argument)
        except NOT_READY:
            raise
        except OSError:
            raise error from None
        if not result:
            raise error
        return result
    finally:
        del error  # else the exception and this frame refer to each other
