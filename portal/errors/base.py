"""PortalError: what an error is, how it travels, and how it comes back as the same class."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from .addresses import cut_addresses
from .declaration import check_class, extend, inherited
from .members import member_from_json

__all__ = ["Delivery", "Exposure", "PortalError"]

#: Whether a called function ran: it did not start, it may have started, it started.
Delivery = Literal["not_sent", "unknown", "executed"]

#: How much of an error the clients of a server get. "full": all of it. "relayed": not its hint, nor addresses in its
#: text; another function raised it, which a function of this server called. "hidden": only its class, code and status.
Exposure = Literal["full", "relayed", "hidden"]

_PLAIN = frozenset((str, int, bool, type(None)))
_DELIVERIES: frozenset[object] = frozenset(get_args(Delivery))
_BY_CODE: dict[str, type[PortalError]] = {}
#: The classes of `declare`, until the module of the server is imported, too.
_OF_CLIENTS: dict[str, type[PortalError]] = {}


class PortalError(Exception):
    """The root of every error that Portal raises.

    A subclass with a `code` of its own comes back from any transport as that class, with the attributes listed in its
    `members`. A parameter of its `__init__` must be a parameter of this class, or be in `members` or `transient`. A
    class with members that is only a base of others is declared as `class ShopError(PortalError, abstract=True)`.

    Raises: TypeError when a subclass is defined that breaks these rules or has the code of another class. A class of
        the same module and qualified name is replaced instead, as in a notebook or after a reload.

    Args:
        message: one sentence for a person.
        scheme: scheme of the portal that raised it ("http", "local").
        address: the address that was called, as text.
        code: a machine-readable word; the class's own when None.
        retryable: whether the same call may succeed if sent again; the default of the class when None.
        delivery: whether the function that was called ran; the default of the class when None.
        hint: what the reader can do about it, in a few words.
        context: facts about the call, such as request_id, user, operation; JSON data only.
        cause: the exception behind this one; becomes `__cause__`.

    Attributes:
        delivery: "not_sent" when the function did not start, "unknown" when it may have, "executed" when it did, None
            when the error does not tell. After "unknown" and "executed", a second call may repeat side effects.
        exposure: how much of it a server without debug=True sends to its clients.
        received: whether another process sent it.
        members: names of the attributes that are sent with the error; those of its bases are included.
        transient: parameters of `__init__` that stay in this process.

    Threads: an error is a value; any thread may read it.
    """

    code: str = "portal_error"
    status: int = 500
    rpc_code: ClassVar[int] = -32603
    retryable: bool = False
    delivery: Delivery | None = None
    exposure: Exposure = "full"
    received: bool = False
    hint: str = ""
    members: ClassVar[tuple[str, ...]] = ()
    transient: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__ and cls.code in _OF_CLIENTS:
            del _BY_CODE[cls.code]
            extend(cls, _OF_CLIENTS.pop(cls.code))
        cls.members = inherited(cls, "members")
        cls.transient = inherited(cls, "transient")
        check_class(cls, abstract=abstract, taken=_BY_CODE)
        if "code" in cls.__dict__:
            _BY_CODE[cls.code] = cls

    @classmethod
    def declare(cls, code: str, *, status: int, retryable: bool) -> type[PortalError]:
        """Give a class the code of an error of a server, and return it; the class that has the code if there is one."""
        known = _BY_CODE.get(code)
        if known is not None:
            return known
        cls.code, cls.status, cls.retryable = code, status, retryable
        _BY_CODE[code] = _OF_CLIENTS[code] = cls
        return cls

    def __init__(
        self,
        message: str = "",
        *,
        scheme: str | None = None,
        address: object = None,
        code: str | None = None,
        retryable: bool | None = None,
        delivery: Delivery | None = None,
        hint: str = "",
        context: Mapping[str, Any] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.scheme = scheme
        self.address = None if address is None else str(address)
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        if delivery is not None:
            self.delivery = delivery
        if hint:
            self.hint = hint
        self.context: dict[str, Any] = dict(context or {})
        self.stack: str | None = None
        if cause is not None:
            self.__cause__ = cause

    @property
    def cause(self) -> BaseException | None:
        """The exception behind this one, or None."""
        return self.__cause__

    @property
    def request_id(self) -> str | None:
        """The id of the call that failed, where it is known."""
        value = self.context.get("request_id")
        return None if value is None else str(value)

    @property
    def executed(self) -> bool:
        """Whether the function that was called is known to have started."""
        return self.delivery == "executed"

    @property
    def may_have_executed(self) -> bool:
        """Whether the function that was called started, or may have."""
        return self.delivery in ("unknown", "executed")

    def __str__(self) -> str:
        text = self.message or type(self).__name__
        return f"{text}; {self.hint}" if self.hint else text

    def with_context(self, **facts: Any) -> PortalError:
        """Add facts that are not yet known (request_id, user, operation) and return the same error."""
        for name, value in facts.items():
            if value is not None:
                self.context.setdefault(name, value)
        return self

    def merge_previous_attempt(self, *, may_have_executed: bool) -> None:
        """Add whether an earlier attempt of the same call may have run the function, even if this one sent nothing."""
        if may_have_executed and not self.may_have_executed:
            self.delivery, self.retryable = "unknown", False
            words = "an earlier attempt may have been executed"
            self.hint = f"{self.hint}; {words}" if self.hint else words

    def stack_trace(self) -> str:
        """Return the traceback of this error and its causes as text, after the remote one if a peer sent it."""
        text = "".join(traceback.format_exception(self))
        return f"{self.stack}\n{text}" if self.stack else text

    def to_dict(self, *, debug: bool = False) -> dict[str, Any]:
        """Return the error as JSON data; with debug=True its stack trace as well."""
        sent = self.sendable()
        if sent is not self:
            return sent.to_dict(debug=debug)
        data: dict[str, Any] = {
            "error": type(self).__name__,
            "message": self.message,
            "code": self.code,
            "status": self.status,
            "retryable": self.retryable,
        }
        for name in ("delivery", "hint", "scheme", "address", "context"):
            if value := getattr(self, name):
                data[name] = value
        for name in self.members:
            data[name] = self._member_to_json(name)
        if self.__cause__ is not None:
            data["cause"] = {"type": type(self.__cause__).__name__, "message": str(self.__cause__)}
        if debug:
            data["stack"] = self.stack_trace()
        return data

    def sendable(self) -> PortalError:
        """Return the error itself, or the one to send in its place where a member is not JSON data."""
        for name in self.members:
            value = self._member_to_json(name)
            if type(value) in _PLAIN:
                continue
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                return self._unsendable(name, value)
        return self

    def hides_details(self, *, debug: bool) -> bool:
        """Return whether clients get no members, hint and message of this error, but a message that says so."""
        return self.exposure == "hidden" and not debug

    def message_for_client(self, *, debug: bool) -> str:
        """Return the message that a server sends; for a hidden one, a message that says where the reason is logged."""
        if self.hides_details(debug=debug):
            where = f" under request {self.request_id}" if self.request_id else ""
            return f"{self.context.get('operation', 'the function')} failed; the server's log has the reason{where}"
        return str(self._for_client(self.message, debug))

    def details_for_client(self, *, debug: bool) -> dict[str, Any]:
        """Return the hint and the members that a server sends, without those that are None.

        The member `type` is sent as `exception`, because a problem document has a member `type` of its own (RFC 9457).
        """
        found = {name: value for name, value in self._details(debug).items() if value is not None}
        if "type" in found:
            found["exception"] = found.pop("type")
        return found

    def _details(self, debug: bool) -> dict[str, Any]:
        if self.hides_details(debug=debug):
            return {name: self._member_to_json(name) for name in ("retry_after",) if name in self.members}
        found = {name: self._for_client(self._member_to_json(name), debug) for name in self.members}
        if self.exposure == "full" or debug:
            return {"hint": self.hint or None} | found
        return {name: value for name, value in found.items() if name not in ("attempts", "advice")}

    def _for_client(self, value: Any, debug: bool) -> Any:
        if self.exposure == "full" or debug:
            return value
        known = () if self.address is None else _texts_of_address(self.address)
        return cut_addresses(value, known)

    def _unsendable(self, name: str, value: object) -> PortalError:
        kind = type(self).__name__
        made = _BY_CODE["function_error"](
            f"{kind}.{name} must be JSON data to be sent, got {type(value).__name__}",
            delivery=self.delivery,
            context=self.context,
            cause=self,
        )
        made._restore_member("type", kind)
        return made

    def _member_to_json(self, name: str) -> Any:
        return getattr(self, name, None)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> PortalError:
        """Return the error that `to_dict` wrote, as the same class.

        An unknown code gives a PortalError with that code, so that a client older than its server still gets the code.
        A member of the wrong type becomes the default of `__init__`.
        """
        code = data.get("code")
        cls = _BY_CODE.get(code, PortalError) if isinstance(code, str) else PortalError
        error = cls.__new__(cls)
        error._restore(data)
        return error

    def _restore(self, data: Mapping[str, Any]) -> None:
        context, delivery, retryable = data.get("context"), data.get("delivery"), data.get("retryable")
        PortalError.__init__(
            self,
            _text(data.get("message")) or "",
            scheme=_text(data.get("scheme")),
            address=_text(data.get("address")),
            retryable=retryable if isinstance(retryable, bool) else None,
            delivery=delivery if isinstance(delivery, str) and delivery in _DELIVERIES else None,  # type: ignore[arg-type]
            hint=_text(data.get("hint")) or "",
            context=context if isinstance(context, Mapping) else None,
        )
        code, status = data.get("code"), data.get("status")
        if isinstance(code, str) and code != self.code:
            self.code = code
        if type(status) is int and 400 <= status <= 599 and status != self.status:
            self.status = status
        self.stack = _text(data.get("stack")) or None
        self.received = True
        for name in self.members:
            self._restore_member(name, member_from_json(type(self), name, data))

    def _restore_member(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), dict(self.__dict__), _picklable(self.__cause__))


def _texts_of_address(address: str) -> tuple[str, ...]:
    """Return an address, its authority, and its host unless that is a plain word."""
    authority = address.partition("://")[2].partition("/")[0]
    host = authority.rpartition(":")[0] or authority
    return tuple(one for one in (address, authority, host) if any(sign in one for sign in ".:"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _picklable(cause: BaseException | None) -> BaseException | None:
    try:
        pickle.loads(pickle.dumps(cause))
    except Exception:  # the pickling of a foreign exception may raise anything; its text is kept instead
        return PortalError(f"{type(cause).__name__}: {cause}")
    return cause


def _unpickle(cls: type[PortalError], state: dict[str, Any], cause: BaseException | None) -> PortalError:
    error = cls.__new__(cls)
    error.args = (state.get("message", ""),)
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


_BY_CODE[PortalError.code] = PortalError
