"""The reserved methods of a server: rpc.describe, rpc.discover, rpc.subscribe and the others that begin with "rpc."."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from ..._internal.closing import run_all
from ..._internal.json_text import JSONObject, JSONValue
from ...calls.dispatcher import Dispatcher
from ...calls.middleware import Call
from ...catalogue.suggestions import most_similar
from ...context import CallContext, Identity
from ...errors import Fault, RegistryError, ValidationError
from ...errors.fault import limit_faults
from ...function import Function, function
from ...network.charges import RequestCharges
from ...network.listing import Listing
from ..events import IncomingCall
from ..reserved import MAX_CREDIT
from ..topics.event import Offset
from ..topics.topic import Topic
from .authentication import Authentication, expiry_of
from .calls import ReservedMethod
from .running import Peer
from .sessions import SessionStore

__all__ = ["Methods"]

_MAX_PENDING = 10_000  # ids in one rpc.resume


class Methods:
    """The reserved methods.

    Args:
        listing: describes what is published.
        topics: by name, in use by other threads.
        dispatcher: runs rpc.publish, as it runs calls.
        authentication: checks renewed credentials.
        sessions: keeps the sessions of clients; None leaves rpc.resume out.
        discover: returns the OpenRPC document; None leaves rpc.discover out.
        charges: counts listings; that of the dispatcher when None.

    Attributes:
        table: the methods by name.

    Threads: any.
    """

    def __init__(
        self,
        listing: Listing,
        topics: dict[str, Topic],
        dispatcher: Dispatcher,
        authentication: Authentication,
        *,
        sessions: SessionStore | None = None,
        discover: Callable[[], dict[str, Any]] | None = None,
        charges: RequestCharges | None = None,
    ) -> None:
        self._listing = listing
        self._topics = topics
        self._dispatcher = dispatcher
        self._authentication = authentication
        self._discover_document = discover
        self._charges = charges or RequestCharges(dispatcher)
        self._publishing: Function = function(name="rpc.publish")(self._publish_in_call)
        self.table: dict[str, ReservedMethod] = {
            "rpc.describe": self._describe,
            "rpc.subscribe": self._subscribe,
            "rpc.unsubscribe": self._unsubscribe,
            "rpc.publish": self._publish,
            "rpc.authenticate": self._authenticate,
        }
        self._sessions = sessions
        if sessions is not None:
            self.table["rpc.resume"] = self._resume
        if discover is not None:
            self.table["rpc.discover"] = self._discover

    def _discover(self, peer: Peer, call: IncomingCall, context: CallContext) -> None:
        assert self._discover_document is not None
        peer.respond(call, self._discover_document())

    def _describe(self, peer: Peer, call: IncomingCall, context: CallContext) -> None:
        """Describe what is at a path below the portal's: everything, a service, a function or a topic."""
        path = _params(call, "path").get("path", "")
        if not isinstance(path, str):
            raise _invalid("path", "a string")
        name, _, version = path.partition("@")
        topic = self._topics.get(name)
        if topic is not None and not version:
            peer.respond(call, topic.describe())
            return
        segments = tuple(part for part in name.split("/") if part)
        try:
            if self._listing.is_list(segments):
                self._charges.charge(peer.address, context, {})
            found = self._listing.describe(segments, version or None, None)
            peer.respond(call, found if segments else found | {"topics": self._topic_rows()})
        except RegistryError:
            self._charges.charge(peer.address, context, {})
            raise

    def _topic_rows(self) -> list[JSONObject]:
        """Return the row of each topic in the list of everything published."""
        address_of = self._listing.address_of
        return [
            {"name": name, "address": str(address_of((name,))), "description": topic.description}
            for name, topic in self._topics.copy().items()
        ]

    def _subscribe(self, peer: Peer, call: IncomingCall, context: CallContext) -> None:
        params = _params(call, "topic", "params", "from", "credit")
        topic = self._topic(params)
        topic.rights.require_subscribe(context.identity)
        found = peer.subscriptions.add(
            topic,
            context.identity,
            topic.checked_params(params.get("params")),
            after=_offset(params.get("from")),
            credit=_credit(params.get("credit")),
        )
        try:
            peer.respond(call, found.to_json())
        except BaseException:  # a snapshot that JSON cannot carry
            peer.subscriptions.remove(found.subscription.id)
            raise
        run_all(found.subscription.release, attempts=2)  # otherwise no event would ever be sent

    def _unsubscribe(self, peer: Peer, call: IncomingCall, context: CallContext) -> None:
        name = _params(call, "subscription").get("subscription")
        if not isinstance(name, str):
            raise _invalid("subscription", "a string")
        peer.respond(call, peer.subscriptions.remove(name))

    def _publish(self, peer: Peer, call: IncomingCall, context: CallContext) -> None:
        """Publish for a client. Middleware sees a call of the function rpc.publish."""
        params = _params(call, "topic", "data", "key")
        self._topic(params).rights.require_publish(context.identity)
        made = Call(self._publishing, params, context, peer=peer.address)
        peer.respond(call, self._dispatcher.dispatch(made))

    def _publish_in_call(self, topic: str, data: Any, key: str | None = None) -> dict[str, Any]:
        found = self._topic({"topic": topic})
        epoch, offset = found.publish_json(data, key=key)
        return {"epoch": epoch, "offset": offset}

    def _authenticate(self, peer: Peer, call: IncomingCall, context: CallContext) -> None:
        """Take a new credential of the connection. The right to each of its subscriptions is checked again."""
        params = _params(call, "authorization", "headers")
        identity = self._authentication.renewed(peer.request, peer.identity, params)
        peer.renew(identity)
        peer.subscriptions.check_rights(identity)
        peer.respond(call, {"identity": identity.name, "expires": _seconds_left(identity)})

    def _resume(self, peer: Peer, call: IncomingCall, context: CallContext) -> None:
        """Begin a session, or go on with one: send the responses to its calls that have ended."""
        store = self._sessions
        assert store is not None
        params = _params(call, "session", "pending")
        session_id, pending = params.get("session"), params.get("pending", [])
        if session_id is not None and not isinstance(session_id, str):
            raise _invalid("session", "a string")
        if not isinstance(pending, list) or len(pending) > _MAX_PENDING or not all(type(one) is int for one in pending):
            raise _invalid("pending", f"at most {_MAX_PENDING} whole numbers")
        ids: list[Any] = pending
        begun = peer.kept
        assert begun is not None  # the connection began it when the call arrived
        found = None if session_id is None else store.resume(session_id, peer)
        session = begun if found is None else found
        result: dict[str, Any] = {"session": session.id, "resumed": found is not None, "keep": store.keep}
        result["expires"] = _seconds_left(peer.identity)
        if found is None:
            peer.respond(call, result)
            return
        store.discard(begun)
        peer.kept = found
        responses = found.responses(ids)
        peer.respond(call, result | {"missing": found.missing(ids)})
        for text in responses:
            peer.send_text(text)

    def _topic(self, params: JSONObject) -> Topic:
        name = params.get("topic")
        if not isinstance(name, str):
            raise _invalid("topic", "a string")
        topic = self._topics.get(name)
        if topic is None:
            raise RegistryError(f"there is no topic {name[:100]}", name=name[:100], hint=self._hint(name))
        return topic

    def _hint(self, name: str) -> str:
        """Return what was perhaps meant by a name that no topic has; "" if that is unknown."""
        path = tuple(name.split("/"))
        if self._listing.has_function(path):
            return "there is a function; call it"
        names = ["/".join(found) for found in most_similar(path, [(one,) for one in self._topics.copy()])]
        return f"did you mean {', '.join(names)}?" if names else ""


def _seconds_left(identity: Identity | None) -> float | None:
    """Return in how many seconds the credential of an identity expires, or None."""
    moment = expiry_of(identity)
    return None if moment is None else round(moment - monotonic(), 3)


def _params(call: IncomingCall, *names: str) -> JSONObject:
    """Return the parameters by name. Raises: ValidationError for others."""
    params = call.params
    if isinstance(params, list):
        if len(params) > len(names):
            raise ValidationError(errors=[Fault("", f"must be at most {len(names)} parameters", "maxItems")])
        return dict(zip(names, params, strict=False))
    unknown = [name for name in params if name not in names]
    if unknown:
        words = f"is not a parameter of {call.method}"
        faults = (Fault(f"/{name[:100]}", words, "additionalProperties") for name in unknown)
        raise ValidationError(errors=limit_faults(faults))
    return params


def _invalid(name: str, expected: str) -> ValidationError:
    return ValidationError(errors=[Fault(f"/{name}", f"must be {expected}", "type")])


def _offset(value: JSONValue) -> Offset | None:
    if value is None:
        return None
    if isinstance(value, dict):
        epoch, offset = value.get("epoch"), value.get("offset")
        if isinstance(epoch, str) and isinstance(offset, int) and not isinstance(offset, bool):
            return Offset(epoch, offset)
    raise _invalid("from", "an object with epoch and offset")


def _credit(value: JSONValue) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_CREDIT:
        raise _invalid("credit", f"a whole number from 0 to {MAX_CREDIT:,}")
    return value
