"""SessionExchange: one exchange through a session of requests, in a thread that its caller need not wait for.

A timeout of requests is for each read, and an adapter may ignore it. So a worker makes the exchange and hands the
response over piece by piece, and the caller stops waiting at its deadline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from ...._internal.conditions import Condition
from ....errors import CallCancelled
from ....network.error_mapping import as_os_error, clear_locals
from ...messages.multipart import MultipartBody
from ..request import ClientRequest
from .abandoned_exchanges import AbandonedExchanges

if TYPE_CHECKING:
    import requests

__all__ = ["OneTimeBody", "SessionExchange"]

_READ_SIZE = 64 * 1024
_MAX_PIECES = 4  # that wait for the caller
Send = Callable[[], "requests.Response"]


class SessionExchange:
    """One exchange, and its response as a ClientResponse.

    `run` makes the exchange in a worker. `wait_for_head` waits in the thread of the caller, which then reads the body.

    Args:
        request: the request; its context has the deadline.
        abandoned: counts the exchange from the moment when its caller gives it up until it ends.

    Attributes:
        status, headers: of the response, once `wait_for_head` has returned; headers by lower-case name.

    Threads: any; one runs it, one waits for it.
    """

    def __init__(self, request: ClientRequest, abandoned: AbandonedExchanges) -> None:
        self._context = request.context
        self._abandoned = abandoned
        self._changed = Condition()  # guards the attributes below
        self._pieces: deque[bytes] = deque()
        self._error: BaseException | None = None
        self._has_head = False
        self._ended = False
        self._given_up = False
        self._counted = False
        self.status = 0
        self.headers: Mapping[str, str] = {}

    # the worker

    def run(self, send: Send) -> None:
        """Make the exchange.

        Args:
            send: sends the request and returns the response, whose body has not been read.
        """
        try:
            if not self._given_up:
                response = send()
                try:
                    self._hand_over(response)
                finally:
                    response.close()
        except BaseException as error:  # the caller that waits gets it
            clear_locals(error)
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._error = None if self._given_up else error
            self._ended = True
            if self._counted:
                self._abandoned.end()
            self._changed.notify_all()

    def _hand_over(self, response: requests.Response) -> None:
        headers = {name.lower(): value for name, value in response.headers.items()}
        pieces = _pieces_of(response, headers)
        with self._changed:
            self.status, self.headers, self._has_head = response.status_code, headers, True
            self._changed.notify_all()
        for piece in pieces:
            with self._changed:
                while len(self._pieces) >= _MAX_PIECES and not self._given_up:
                    self._changed.wait()
                if self._given_up:
                    return
                self._pieces.append(piece)
                self._changed.notify_all()

    # the caller

    def wait_for_head(self) -> None:
        """Wait until the head of the response is there.

        Raises: what the session raises; TimeoutError at the deadline; CallCancelled.
        """
        with self._changed:
            while not self._has_head and not self._ended:
                self._wait()
            if self._error is not None and not self._has_head:
                self._raise_error()

    def _raise_error(self) -> NoReturn:
        """Raise the error of the session. It is not kept, as the frames of its traceback refer to this object."""
        assert self._error is not None
        try:
            raise self._error
        finally:
            self._error = _incomplete()

    def _wait(self) -> None:
        """Wait for a change. At the deadline, and at an exception of a signal's handler, give the exchange up."""
        context = self._context
        try:
            if context.cancelled:
                raise CallCancelled("the caller cancelled the call")
            left = None if context.deadline is None else context.deadline - monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("the deadline has passed")
            self._changed.wait(left)
        except BaseException:
            self.close()
            raise

    def read_buffered(self) -> bytes | None:
        """Return None: whether all has arrived is not known."""
        return None

    def iter_body(self) -> Iterator[bytes]:
        """Yield the body as it arrives. Raises: OSError when it is incomplete; TimeoutError at the deadline."""
        while True:
            with self._changed:
                while not self._pieces and not self._ended:
                    self._wait()
                if not self._pieces:
                    if self._error is not None:
                        self._raise_os_error()
                    return
                piece = self._pieces.popleft()
                self._changed.notify_all()
            yield piece

    def _raise_os_error(self) -> NoReturn:
        try:
            self._raise_error()
        except Exception as error:
            if as_os_error(error) is error:
                raise
            raise as_os_error(error) from error

    def close(self) -> None:
        """Give up the rest of the exchange, without waiting for the worker."""
        with self._changed:
            if self._error is not None:
                self._error = _incomplete()  # nobody reads it; see `_raise_error`
            if self._ended or self._given_up:
                return
            self._given_up = True
            self._counted = True
            self._abandoned.begin()
            self._changed.notify_all()


def _incomplete() -> OSError:
    return ConnectionResetError("the connection closed before the end of the response")


def _pieces_of(response: requests.Response, headers: dict[str, str]) -> Iterator[bytes]:
    """Return the body piece by piece, as it was sent; or decompressed, if a hook or an adapter has read it already."""
    raw: Any = response.raw
    if raw is None or getattr(response, "_content_consumed", False):
        headers.pop("content-encoding", None)
        return iter((response.content,))
    if hasattr(raw, "stream"):
        return _complete(raw)
    return iter(lambda: raw.read(_READ_SIZE), b"")


def _complete(raw: Any) -> Iterator[bytes]:
    yield from raw.stream(_READ_SIZE, decode_content=False)
    if getattr(raw, "length_remaining", None):
        raise _incomplete()


class OneTimeBody:
    """A request's body that can be sent once.

    The retries of an adapter could repeat a call that may have been executed. An adapter rewinds the body before it
    retries. That fails here, once the body has been read.

    Threads: one at a time.
    """

    def __init__(self, data: bytes | MultipartBody) -> None:
        self._length = len(data)
        self._pieces = iter((data,) if isinstance(data, bytes) else data)
        self._is_read = False

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece

    def tell(self) -> int:
        """Return 0, the place to which a retry would rewind."""
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Rewind. Raises: OSError if a part of the body may have been sent."""
        if self._is_read:
            raise OSError("the call may have been executed, and is not sent again")
        return 0

    def read(self, size: int | None = -1) -> bytes:
        """Return the next piece of the body; b"" at its end."""
        self._is_read = True
        return next(self._pieces, b"")
