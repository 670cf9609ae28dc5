"""Address: where a function is, as `scheme://[authority]/path[?query][#fragment]`.

Immutable, hashable and normalised: two texts that mean the same address give equal ones. For network schemes (http,
https, ws, wss, dask) the authority is host:port; for all others (local, js, test, mock) what stands in its place is the
first path segment: `local://add` is the function `add`. Source: RFC 3986, RFC 5891 for host names, RFC 4291 for IPv6.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from .errors import AddressError

__all__ = ["Address", "AddressBuilder", "NETWORK_SCHEMES"]

MAX_LENGTH = 8192
NETWORK_SCHEMES = frozenset({"http", "https", "ws", "wss", "dask"})
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_PARTS = re.compile(r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"
_QUERY_SAFE = "!$'()*,;:@/?-._~<>="
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


class Address:
    """A place where a function is published.

    Attributes:
        scheme: in lower case.
        host: in lower case, IDN as punycode, IPv6 without brackets; "" where the scheme has none.
        port: None for the scheme's own.
        segments: the path, percent-decoded.
        query: name and value pairs in their order, decoded.
        fragment: decoded, or "".

    Threads: a value; any.
    """

    __slots__ = ("_text", "fragment", "host", "port", "query", "scheme", "segments")

    scheme: str
    host: str
    port: int | None
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    fragment: str
    _text: str

    def __init__(
        self,
        scheme: str,
        host: str = "",
        port: int | None = None,
        segments: tuple[str, ...] = (),
        query: tuple[tuple[str, str], ...] = (),
        fragment: str = "",
    ) -> None:
        found = Address.parse(_unparse(scheme, host, port, segments, query, fragment))
        for name in Address.__slots__:
            object.__setattr__(self, name, getattr(found, name))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an Address does not change")

    __delattr__ = __setattr__  # type: ignore[assignment]

    @staticmethod
    def parse(text: str) -> Address:
        """The address a text names; AddressError with position and reason when it names none."""
        return _parse(text)

    @staticmethod
    def of(source: Address | str) -> Address:
        """The Address itself, or the one a text names."""
        if isinstance(source, Address):
            return source
        if not isinstance(source, str):
            raise AddressError(f"{type(source).__name__} is no address", reason="not text")
        return _parse(source)

    @staticmethod
    def local(scheme: str, segments: tuple[str, ...]) -> Address:
        """The address of a path in a scheme without hosts."""
        return Address(scheme, segments=segments)

    @staticmethod
    def network(scheme: str, host: str, port: int | None, segments: tuple[str, ...]) -> Address:
        """The address of a path at a host."""
        return Address(scheme, host, port, segments)

    @property
    def authority(self) -> str:
        """`host[:port]` with brackets around IPv6; "" without a host."""
        return _authority(self.host, self.port)

    @property
    def base(self) -> str:
        """`scheme://authority`."""
        return f"{self.scheme}://{self.authority}"

    origin = base

    @property
    def path(self) -> str:
        """The path, percent-encoded, with its leading slash."""
        return "/" + "/".join(quote(segment, safe=_SEGMENT_SAFE) for segment in self.segments)

    @property
    def name(self) -> str:
        """The last segment without its version; "" for an empty path."""
        return self.segments[-1].partition("@")[0] if self.segments else ""

    @property
    def version(self) -> str | None:
        """The version or range that `?version=` asks for, or None; `add@2` is part of the path."""
        for name, value in self.query:
            if name == "version":
                return value
        return None

    def child(self, *segments: str) -> Address:
        """The address with segments added to its path; query and fragment are dropped."""
        return Address(self.scheme, self.host, self.port, (*self.segments, *segments))

    def with_query(self, **pairs: str) -> Address:
        """The address with this query instead of its own."""
        return Address(self.scheme, self.host, self.port, self.segments, tuple(pairs.items()), self.fragment)

    def resolve(self, reference: str) -> Address:
        """The address that a reference means, seen from this one (RFC 3986 section 5.2)."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", reference):
            return _parse(reference)
        if reference.startswith("//"):
            return _parse(f"{self.scheme}:{reference}")
        path, query, fragment = _split_reference(reference)
        own_query = _unparse_query(self.query)
        if path.startswith("/"):
            return _parse(f"{self._root}{path}{query}{fragment}")
        if not path:
            own = self.path if self.segments else ""
            return _parse(f"{self._root}{own}{query or own_query}{fragment}")
        parent = self.path.rpartition("/")[0]
        return _parse(f"{self._root}{parent}/{path}{query}{fragment}")

    @property
    def _root(self) -> str:
        return self.base if self.scheme in NETWORK_SCHEMES else f"{self.scheme}://"

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Address({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Address) else NotImplemented

    def __lt__(self, other: Address) -> bool:
        return self._text < other._text if isinstance(other, Address) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _parse, (self._text,)


class AddressBuilder:
    """Builds an Address step by step; each step gives a new builder, so one may be kept and used again."""

    __slots__ = ("_parts",)

    def __init__(self, scheme: str) -> None:
        self._parts: dict[str, Any] = {"scheme": scheme}

    def _with(self, **parts: Any) -> AddressBuilder:
        other = AddressBuilder.__new__(AddressBuilder)
        other._parts = self._parts | parts
        return other

    def host(self, host: str) -> AddressBuilder:
        """Set the host; IPv6 with or without brackets."""
        return self._with(host=host.removeprefix("[").removesuffix("]"))

    def port(self, port: int | None) -> AddressBuilder:
        """Set the port; None for the scheme's own."""
        return self._with(port=port)

    def path(self, *segments: str) -> AddressBuilder:
        """Add path segments, as plain text: they are encoded where needed."""
        return self._with(segments=(*self._parts.get("segments", ()), *segments))

    def version(self, version: str) -> AddressBuilder:
        """Ask for a version or a range of versions."""
        return self.query(version=version)

    def query(self, **pairs: str) -> AddressBuilder:
        """Add query parameters."""
        return self._with(query=(*self._parts.get("query", ()), *pairs.items()))

    def fragment(self, fragment: str) -> AddressBuilder:
        """Set the fragment."""
        return self._with(fragment=fragment)

    def build(self) -> Address:
        """The address; AddressError when the parts make none."""
        return Address(**self._parts)


def _refuse(text: str, position: int, reason: str) -> AddressError:
    shown = text if len(text) <= 200 else text[:197] + "..."
    return AddressError(f"{shown!r} is no address: {reason} at {position}", position=position, reason=reason)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address:
    if len(text) > MAX_LENGTH:
        raise _refuse(text, MAX_LENGTH, f"longer than {MAX_LENGTH} characters")
    for pattern, reason in ((_FORBIDDEN, "a character that is not allowed"), (_BAD_PERCENT, "a bad percent-encoding")):
        bad = pattern.search(text)
        if bad:
            raise _refuse(text, bad.start(), reason)
    match = _PARTS.fullmatch(text)
    if match is None:
        raise _refuse(text, 0, "no scheme:// at its start")
    if not _SCHEME.fullmatch(match["scheme"]):
        raise _refuse(text, 0, "a bad scheme")
    scheme, authority, path = match["scheme"].lower(), match["authority"], match["path"]
    host, port = "", None
    if scheme in NETWORK_SCHEMES:
        host, port = _parse_authority(text, authority, match.start("authority"))
        port = None if port == _DEFAULT_PORTS.get(scheme) else port
    else:
        path = f"{authority}{path}"
    segments = _parse_path(text, path, match.start("authority"))
    if scheme not in NETWORK_SCHEMES and not segments:
        raise _refuse(text, match.end("path"), "no name")
    query = tuple(parse_qsl(match["query"] or "", keep_blank_values=True))
    fragment = _decode(text, match["fragment"] or "", match.start("authority"))
    return _make(scheme, host, port, segments, query, fragment)


def _make(
    scheme: str, host: str, port: int | None, segments: tuple[str, ...], query: tuple[tuple[str, str], ...], fragment: str
) -> Address:
    address = Address.__new__(Address)
    values = (_unparse(scheme, host, port, segments, query, fragment), fragment, host, port, query, scheme, segments)
    for name, value in zip(Address.__slots__, values, strict=True):
        object.__setattr__(address, name, value)
    return address


def _parse_authority(text: str, authority: str, start: int) -> tuple[str, int | None]:
    if "@" in authority:
        raise _refuse(text, start, "a credential, which does not belong in an address")
    if authority.startswith("["):
        end = authority.find("]")
        if end < 0:
            raise _refuse(text, start, "a bracket that is not closed")
        return _ipv6(text, authority[1:end], start + 1), _port(text, authority[end + 1 :], start + end + 1)
    host, colon, port = authority.partition(":")
    if not host:
        raise _refuse(text, start, "no host")
    return _host(text, host, start), _port(text, colon + port, start + len(host))


def _ipv6(text: str, host: str, start: int) -> str:
    try:
        if "%" in host:
            raise AddressValueError("zone")
        return str(IPv6Address(host))
    except AddressValueError:
        raise _refuse(text, start, "no IPv6 address") from None


def _port(text: str, rest: str, start: int) -> int | None:
    if rest in ("", ":"):
        return None
    digits = rest[1:]
    if rest[0] != ":" or not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or int(digits) > 65_535:
        raise _refuse(text, start, "a bad port")
    return int(digits)


def _host(text: str, host: str, start: int) -> str:
    host = _decode(text, host, start)
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise _refuse(text, start, "no IPv4 address") from None
    try:
        name = host.lower() if host.isascii() else host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _refuse(text, start, "a bad host name") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.removesuffix(".").split(".")):
        raise _refuse(text, start, "a bad host name")
    return name


def _parse_path(text: str, path: str, start: int) -> tuple[str, ...]:
    segments: list[str] = []
    for raw in path.split("/"):
        segment = _decode(text, raw, start)
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return tuple(segments)


def _decode(text: str, part: str, start: int) -> str:
    if "%" not in part:
        return part
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise _refuse(text, start, "a percent-encoding that is not UTF-8") from None


def _authority(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def _unparse_query(query: tuple[tuple[str, str], ...]) -> str:
    return "?" + urlencode(query, safe=_QUERY_SAFE, quote_via=quote) if query else ""


def _unparse(
    scheme: str, host: str, port: int | None, segments: tuple[str, ...], query: tuple[tuple[str, str], ...], fragment: str
) -> str:
    path = "/".join(quote(segment, safe=_SEGMENT_SAFE) for segment in segments)
    authority = _authority(host, port)
    start = f"{scheme}://{authority}/" if authority and path else f"{scheme}://{authority}"
    end = "#" + quote(fragment, safe=_QUERY_SAFE) if fragment else ""
    return start + path + _unparse_query(query) + end


def _split_reference(reference: str) -> tuple[str, str, str]:
    rest, mark, fragment = reference.partition("#")
    path, question, query = rest.partition("?")
    return path, question + query, mark + fragment
