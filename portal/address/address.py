"""Address: a parsed address in normal form."""

from __future__ import annotations

import re
from functools import lru_cache, total_ordering
from typing import Any, NoReturn
from urllib.parse import unquote

from ..errors import AddressError
from .grammar import DEFAULT_PORTS, MAX_LENGTH, NETWORK_SCHEMES, SCHEME, reject, split
from .host import join_decoded_host_port, join_host_port, parse_host_port
from .percent import append_tail, encode_path, normalize_path, normalize_tail, parse_query

__all__ = ["Address"]

_ID = re.compile(r"[0-9a-f]{8}(?:[0-9a-f]{8})?")
_set = object.__setattr__


@total_ordering
class Address:
    """The place where something is published; immutable, hashable, ordered, in normal form.

    Attributes:
        scheme: lower case, such as "http".
        host: lower case, punycode where it is not ASCII, IPv6 without brackets; "" where the scheme has no host.
        port: 0 to 65535, or None when it is the scheme's default or absent.
        path: from the first "/", percent-encoded as in the text; a "name@version" is in it.
        segments: the path's segments, decoded, without the version.
        query: (name, value) pairs in order, decoded; "+" is a plus.
        fragment: decoded, "" when absent.
        version: "2" of `add@2`, ">=1,<2" of `?version=>=1,<2`, else None. The "@" stands in the last segment or, before
            an id, in the last but one; a literal "@" is written %40.

    Raises: AddressError with position and reason.

    Threads: immutable; any thread may read it.
    """

    __slots__ = ("_text", "fragment", "host", "path", "port", "query", "scheme", "segments", "version")

    _text: str
    scheme: str
    host: str
    port: int | None
    path: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    fragment: str
    version: str | None

    def __init__(self, text: str) -> None:
        shape = split(text)
        scheme, authority, path, query, fragment = shape.groups("")
        scheme = scheme.lower()
        start = shape.start(3)
        host, port = "", None
        if scheme in NETWORK_SCHEMES:
            host, port = parse_host_port(text, authority, shape.start(2))
            port = None if port == DEFAULT_PORTS.get(scheme) else port
        elif authority:  # it is the first segment; the last slash of "://" begins the path
            start = shape.start(2) - 1
            path = f"/{authority}{path}"
        path = normalize_path(text, path, start)
        if path == "/" and scheme not in NETWORK_SCHEMES:
            reject(text, shape.start(2), "empty name")
        segments, version = _split_segments(text, path, shape.end(3))
        query = normalize_tail(text, query, shape.start(4))
        pairs = parse_query(query) if query else ()
        fragment = normalize_tail(text, fragment, shape.start(5))
        if pairs:
            version = _select_version(text, version, pairs, shape.start(4))
        normal = f"{scheme}://{join_host_port(host, port)}{path if host else path[1:]}"
        normal += (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")
        if len(normal) > MAX_LENGTH:
            reject(text, None, f"longer than {MAX_LENGTH} characters when percent-encoded")
        values = (normal, unquote(fragment), host, path, port, pairs, scheme, segments, version)
        for name, value in zip(self.__slots__, values, strict=True):
            _set(self, name, value)

    @staticmethod
    def parse(text: str) -> Address:
        """Return the address of a text; recent ones are cached. Raises AddressError."""
        if not isinstance(text, str):
            raise AddressError(f"an address must be a string, got {type(text).__name__}", reason="not a string")
        return _parse(text)

    @staticmethod
    def of(value: Address | str) -> Address:
        """Return an address as it is, or parse a text."""
        return value if isinstance(value, Address) else Address.parse(value)

    @staticmethod
    def local(scheme: str, segments: tuple[str, ...]) -> Address:
        """Return `scheme://segment/segment` of decoded segments, one of which may be "name@version"."""
        return Address.parse(f"{scheme}://{encode_path(segments)[1:]}")

    @staticmethod
    def network(scheme: str, host: str, port: int | None, segments: tuple[str, ...]) -> Address:
        """Return `scheme://host:port/segment/segment` of decoded parts; an IPv6 host has no brackets."""
        return Address.parse(f"{scheme}://{join_decoded_host_port(host, port)}{encode_path(segments)}")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"an Address is immutable: {name} cannot be set")

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Address({self._text!r})"

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Address) else NotImplemented

    def __lt__(self, other: Address) -> bool:
        return self._text < other._text if isinstance(other, Address) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, (self._text,)

    @property
    def authority(self) -> str:
        """The `host[:port]`, with brackets around IPv6; "" where the scheme has no host."""
        return join_host_port(self.host, self.port)

    @property
    def base(self) -> str:
        """The `scheme://authority`."""
        return f"{self.scheme}://{self.authority}"

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """The scheme, host and port, with the default port filled in (RFC 6454 section 4)."""
        return self.scheme, self.host, DEFAULT_PORTS.get(self.scheme) if self.port is None else self.port

    @property
    def name(self) -> str:
        """The function's or service's name: the last segment, or the one before it if the last looks like an id.

        An id is 8 or 16 lower-case hex digits; only the portal at the address knows for certain. Without segments the
        name is "".
        """
        if len(self.segments) > 1 and _ID.fullmatch(self.segments[-1]):
            return self.segments[-2]
        return self.segments[-1] if self.segments else ""

    def child(self, *segments: str) -> Address:
        """Return the address of decoded segments below this one; query and fragment are left out.

        Args:
            segments: one may be "name@version".
        """
        return Address.parse(f"{self.base}{self.path.rstrip('/')}{encode_path(segments) if segments else ''}")

    def with_query(self, **pairs: str | float | None) -> Address:
        """Return the address with these query values set; None removes a value. Other pairs keep their places."""
        kept = [(name, value) for name, value in self.query if name not in pairs]
        added = [(name, str(value)) for name, value in pairs.items() if value is not None]
        return Address.parse(append_tail(f"{self.base}{self.path}", [*kept, *added], self.fragment))

    def resolve(self, reference: Address | str) -> Address:
        """Resolve a reference that was found at this address (RFC 3986 section 5.2).

        Args:
            reference: an address or part of one: "//host/path", "/path", "name", "../name", "?query", "#fragment", "".

        Raises: AddressError; its position counts in the reference.
        """
        if isinstance(reference, Address):
            return reference
        prefix = self._prefix_for(reference)
        try:
            return Address.parse(prefix + reference)
        except AddressError as error:
            if error.position is not None:
                error.position = max(0, error.position - len(prefix))
            raise

    def _prefix_for(self, reference: str) -> str:
        scheme = SCHEME.match(reference)
        if scheme and scheme[1]:
            return ""
        if reference.startswith("//"):
            return f"{self.scheme}:"
        if reference.startswith("/"):
            return self.base
        if reference.startswith("#") or not reference:
            return self._text.partition("#")[0]
        if reference.startswith("?"):
            return f"{self.base}{self.path}"
        return f"{self.base}{self.path.rpartition('/')[0]}/"


_parse = lru_cache(maxsize=4096)(Address)


def _split_segments(text: str, path: str, end: int) -> tuple[tuple[str, ...], str | None]:
    segments = path.strip("/").split("/") if path != "/" else []
    version = None
    for place in (-1, -2)[: len(segments)] if "@" in path else ():
        name, at, found = segments[place].partition("@")
        if name and found:
            segments[place], version = name, unquote(found)
            break
        if at and place == -1:
            reject(text, text.rindex("@", 0, end), "empty version" if name else "empty name")
    return tuple(map(unquote, segments) if "%" in path else segments), version


def _select_version(text: str, version: str | None, pairs: tuple[tuple[str, str], ...], start: int) -> str | None:
    for name, value in pairs:
        if name == "version":
            if not value:
                reject(text, start, "empty version")
            if version not in (None, value):
                reject(text, start, "two versions")
            version = value
    return version
