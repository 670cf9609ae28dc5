"""FunctionBodies: how large the body of a call may be, and whether it is kept on disk."""

from __future__ import annotations

from collections.abc import Iterable

from ...auth.authentication import Authenticator
from ...catalogue import Catalogue
from ...errors import PortalError
from ...http11.request_head import RequestHead
from ...serving.messages.stored_body import BodyRule
from .target import read_target

__all__ = ["FunctionBodies"]


class FunctionBodies:
    """Finds the rules for the bodies of calls, before these arrive.

    A body is kept on disk if the function takes files. Otherwise it is JSON data, which is decoded in memory.

    Args:
        base_path: "" or "/api".
        catalogue: what is published.
        authenticators: of the portal. Those that need the body get it in memory.

    Threads: any.
    """

    def __init__(self, base_path: str, catalogue: Catalogue, authenticators: Iterable[Authenticator]) -> None:
        self._base = base_path
        self._catalogue = catalogue
        self._may_store = not any(getattr(one, "needs_body", False) for one in authenticators)

    def rule(self, head: RequestHead) -> BodyRule | None:
        """Return the rule for the body of a request, or None for that of the listener."""
        if head.method != "POST" or not head.path.startswith(self._base):
            return None
        try:
            entry = self._catalogue.find(*read_target(head.path[len(self._base) :], head.query))
        except PortalError:  # the response says what is wrong
            return None
        if entry is None:
            return None
        schema = entry.function.schema
        takes_files = schema.transfer is not None and bool(schema.transfer.files)
        # A compressed body is decompressed in memory, up to the limit of the listener.
        if "content-encoding" in head.headers or not (takes_files or schema.max_body is not None):
            return None
        return BodyRule(schema.max_body, takes_files and self._may_store)
