"""InputBudgets: what all connections together hold of messages that have not been served.

It knows no HTTP and no sockets. A connection says how much it holds, and is told if it must give up.
"""

from __future__ import annotations

import threading
from typing import Any

from .budget import ByteBudget
from .shares import heaviest

__all__ = ["InputBudgets", "InputShare"]


class InputShare:
    """The input of one connection.

    Args:
        budgets: count the input of all connections.
        client: of the connection; None if it is a client of its own.

    Attributes:
        held: bytes that are counted for it.
        receiving: whether its present message has not arrived completely.
        known: whether its present message comes from a caller that has been authenticated, or that needs no
            authentication.
        refused: whether the connection must give up, as too much is held.

    Threads: the thread that owns the connection calls the methods. `InputBudgets` changes the attributes.
    """

    __slots__ = ("_budgets", "client", "held", "known", "receiving", "refused")

    def __init__(self, budgets: InputBudgets, client: str | None) -> None:
        self._budgets = budgets
        self.client = client
        self.held = 0
        self.known = self.receiving = self.refused = False

    def hold(self, connection: Any, size: int) -> bool:
        """Count `size` bytes of a message that has not arrived completely. Return False if they must be dropped."""
        return self._budgets.hold(self, connection, size)

    def complete(self) -> bool:
        """Note that the message has arrived. It is counted until `release`, and the connection is not chosen.

        Returns: False if the message must be dropped, as another thread has chosen it just now.
        """
        return self._budgets.complete(self)

    def admit(self) -> None:
        """Note that the caller is known."""
        self._budgets.admit(self)

    def release(self) -> None:
        """Count nothing any more; the next message is of an unknown caller again."""
        self._budgets.release(self)


class InputBudgets:
    """Counts what all connections hold of messages that have not been served.

    When too much is held, the client that holds most gives up its largest message. So another client's messages still
    arrive.

    Args:
        total: bytes for all of them.
        unknown: bytes for those of callers that have not been authenticated yet.

    Attributes:
        refused: how many messages had to be dropped.
        held: bytes that are held now, and those of them that are of unknown callers.

    Threads: any.
    """

    def __init__(self, total: int, unknown: int) -> None:
        self.total = ByteBudget(total)
        self.unknown = ByteBudget(unknown)
        self.refused = 0
        self.held = (0, 0)  # the budgets exceed their limits for a moment, before messages are dropped; this does not
        self._lock = threading.Lock()  # guards all of the attributes, and those of the shares
        self._holders: dict[InputShare, Any] = {}
        self._waiting: list[Any] = []  # connections that must give up and have not been told

    def share(self, client: str | None) -> InputShare:
        """Return the share of a new connection."""
        return InputShare(self, client)

    def hold(self, share: InputShare, connection: Any, size: int) -> bool:
        """Count `size` bytes for a connection whose message has not arrived completely.

        Returns: False if the connection must give up.
        """
        with self._lock:
            if share.refused:
                return False
            self._add(share, size - share.held)
            self._holders[share] = connection
            share.receiving = True
            while (unknown_only := self.unknown.is_exceeded) or self.total.is_exceeded:
                if not self._refuse_heaviest(unknown_only):
                    break
            self._note()
            if share in self._holders:
                return True
            self._waiting = [one for one in self._waiting if one is not connection]  # it learns it here
            return False

    def complete(self, share: InputShare) -> bool:
        """Note that a message has arrived. Return False if it must be dropped."""
        with self._lock:
            share.receiving = False
            return not share.refused

    def admit(self, share: InputShare) -> None:
        """Count a share as one of a known caller."""
        with self._lock:
            if not share.known:
                self.unknown.release(share.held)
                share.known = True
                self._note()

    def release(self, share: InputShare) -> None:
        """Count nothing for a share any more."""
        with self._lock:
            self._forget(share)
            share.receiving = share.known = False
            self._note()

    def take_refused(self) -> list[Any]:
        """Return the connections that must give up and have not been told."""
        if not self._waiting:
            return []
        with self._lock:
            found, self._waiting = self._waiting, []
            return found

    def _refuse_heaviest(self, unknown_only: bool) -> bool:
        victim = heaviest(
            (one, one.client or one, one.held)
            for one in self._holders
            if one.receiving and not (unknown_only and one.known)
        )
        if victim is None:
            return False
        self._waiting.append(self._holders[victim])
        self._forget(victim)
        victim.refused = True
        self.refused += 1
        return True

    def _note(self) -> None:
        self.held = self.total.used, self.unknown.used

    def _add(self, share: InputShare, change: int) -> None:
        share.held += change
        self.total.add(change)
        if not share.known:
            self.unknown.add(change)

    def _forget(self, share: InputShare) -> None:
        self._add(share, -share.held)
        self._holders.pop(share, None)
