"""StoredBody: the body of a request that is kept in a temporary file, and BodyStore, which makes them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from ..._internal.log import get_logger
from ...errors import ProtocolError
from ...http11.request_head import RequestHead
from ..bounds.disk import DiskBudget

__all__ = ["IN_MEMORY", "BodyRule", "BodyRules", "BodyStore", "StoredBody", "no_rule"]

_log = get_logger("portal.serving")
#: Bytes of a body that stay in memory in any case.
IN_MEMORY = 1024 * 1024


class BodyRule(NamedTuple):
    """How the body of a request is stored.

    Attributes:
        max_size: bytes at most; None for `max_body` of the listener.
        on_disk: whether a body of more than 1 MiB is kept in a temporary file.
    """

    max_size: int | None
    on_disk: bool


@runtime_checkable
class BodyRules(Protocol):
    """An app that has rules for bodies."""

    def body_rule(self, head: RequestHead) -> BodyRule | None:
        """Return the rule for the body of a request, or None for that of the listener. It must be quick."""


def no_rule(head: RequestHead) -> BodyRule | None:
    """Return no rule for any request."""
    return None


class StoredBody:
    """A body in a temporary file without a name, which is closed with this object.

    Args:
        budget: counts the bytes.
        client: who sends them; None for a trusted proxy.

    Attributes:
        size: bytes that are written.

    Threads: one may write, and then any may read.
    """

    def __init__(self, budget: DiskBudget, client: str | None) -> None:
        self.size = 0
        self._budget = budget
        self._client = client
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with this object

    def write(self, data: bytes | bytearray) -> None:
        """Append data.

        Raises: ProtocolError (503) if all bodies together, or those of the client, take too much; OSError of the disk.
        """
        if not self._budget.reserve(self._client, len(data)):
            raise ProtocolError("other request bodies fill the space on disk (max_input_on_disk)", status=503)
        self.size += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes from an offset; b"" at the end."""
        return os.pread(self._file.fileno(), size, offset)

    def __del__(self) -> None:
        file = getattr(self, "_file", None)  # the system may have refused it
        if file is not None:
            file.close()
            self._budget.release(self._client, self.size)


class BodyStore:
    """Keeps bodies on disk.

    Args:
        budget: counts their bytes.
        rule_for: returns the rule for the body of a request, or None.

    Attributes:
        budget: as given.
        rule_for: as given.

    Threads: any.
    """

    def __init__(self, budget: DiskBudget, rule_for: Callable[[RequestHead], BodyRule | None] = no_rule) -> None:
        self.budget = budget
        self.rule_for = rule_for

    def append(self, body: StoredBody | None, data: bytes | bytearray, client: str | None) -> StoredBody:
        """Append data to a body, or to a new one. Raises: ProtocolError (503) if that is not possible."""
        try:
            found = StoredBody(self.budget, client) if body is None else body
            found.write(data)
            return found
        except OSError as error:
            reason = str(error)
        # Outside of the handler, as the error would keep the body.
        _log.error("a body could not be written to disk: %s", reason)
        raise ProtocolError("the body could not be stored", status=503)
