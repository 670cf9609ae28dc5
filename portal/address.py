"""Address: where a function is published, as `scheme://[authority]/path[?query][#fragment]`.

    http://127.0.0.1:8080/api/add/3f2a9c51     a server: http, https, ws, wss and dask have host and port
    local://add/3f2a9c51                       everything else has none: the path begins where the host would be
    local://add@2   local://add?version=>=1,<2 a version or a range of versions

An address is kept in its normal form, and addresses are equal if their normal forms are: scheme and host in lower case,
no default port, IDN host as punycode, IPv6 compressed, dot segments removed, percent-encoding upper-case and only where
it is needed. Sources: RFC 3986 (syntax; normal form, section 6.2; references, section 5), RFC 3987 section 3.1 (other
scripts), RFC 5952 (IPv6 text), RFC 3490 (IDN).
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache, total_ordering
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote, unquote_to_bytes

from .errors import AddressError

__all__ = ["Address", "AddressBuilder"]

_MAX_LENGTH = 8192
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_NETWORK = frozenset((*_DEFAULT_PORTS, "dask"))

_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(:)?")
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\\\ud800-\udfff]|%(?![0-9A-Fa-f]{2})")
_IN_BRACKETS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\[[^\]/?#]*")
_HOST_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_NUMERIC_HOST = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_ID = re.compile(r"[0-9a-f]{8}(?:[0-9a-f]{8})?")

# What each part may hold as it is (RFC 3986 sections 3.3 to 3.5). A query's "+" is written %2B: form decoders on the
# way would read it as a space.
_SEGMENT_SAFE = "!$&'()*+,;=:@"
_TAIL_SAFE = "!$'()*,;:@/?"
_PATH_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+|[^A-Za-z0-9._~!$&'()*+,;=:@/%\-]+")
_TAIL_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+|[^A-Za-z0-9._~!$&'()*,;=:@/?%\-]+")

_set = object.__setattr__


@total_ordering
class Address:
    """Where something is published; immutable, hashable, ordered, always in normal form.

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

    Raises: AddressError with position and reason. Threads: any.
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
        shape = _SHAPE.fullmatch(text)
        if shape is None or len(text) > _MAX_LENGTH or _FORBIDDEN.search(text):
            _refuse_text(text)
        scheme, authority, path, query, fragment = shape.groups("")
        scheme = scheme.lower()
        start = shape.start(3)
        host, port = "", None
        if scheme in _NETWORK:
            host, port = _host_port(text, authority, shape.start(2))
            port = None if port == _DEFAULT_PORTS.get(scheme) else port
        elif authority:  # it is the first segment; the last slash of "://" begins the path
            start = shape.start(2) - 1
            path = f"/{authority}{path}"
        path = _normal_path(text, path, start)
        if path == "/" and scheme not in _NETWORK:
            _refuse(text, shape.start(2), "empty name")
        segments, version = _segments(text, path, shape.end(3))
        query = _normal(text, query, shape.start(4), _TAIL_ESCAPE)
        pairs = _pairs(query) if query else ()
        fragment = _normal(text, fragment, shape.start(5), _TAIL_ESCAPE)
        if pairs:
            version = _one_version(text, version, pairs, shape.start(4))
        normal = f"{scheme}://{_authority(host, port)}{path if host else path[1:]}"
        normal += (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")
        if len(normal) > _MAX_LENGTH:
            _refuse(text, None, f"longer than {_MAX_LENGTH} characters when percent-encoded")
        values = (normal, unquote(fragment), host, path, port, pairs, scheme, segments, version)
        for name, value in zip(self.__slots__, values, strict=True):
            _set(self, name, value)

    @staticmethod
    def parse(text: str) -> Address:
        """The address that a text spells; recent ones are remembered. Raises AddressError."""
        if not isinstance(text, str):
            raise AddressError(f"an address is text, not {type(text).__name__}", reason="not text")
        return _parse(text)

    @staticmethod
    def of(value: Address | str) -> Address:
        """An address as it is, or a text parsed."""
        return value if isinstance(value, Address) else Address.parse(value)

    @staticmethod
    def local(scheme: str, segments: tuple[str, ...]) -> Address:
        """`scheme://segment/segment` from decoded segments, one of which may be "name@version"."""
        return Address.parse(f"{scheme}://{_path_text(segments)[1:]}")

    @staticmethod
    def network(scheme: str, host: str, port: int | None, segments: tuple[str, ...]) -> Address:
        """`scheme://host:port/segment/segment` from decoded parts; an IPv6 host without brackets."""
        return Address.parse(f"{scheme}://{_given_authority(host, port)}{_path_text(segments)}")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"an Address does not change: {name}")

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
        """`host[:port]` with brackets around IPv6; "" where the scheme has no host."""
        return _authority(self.host, self.port)

    @property
    def base(self) -> str:
        """`scheme://authority`."""
        return f"{self.scheme}://{self.authority}"

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """Scheme, host and port, the default port filled in (RFC 6454 section 4)."""
        return self.scheme, self.host, _DEFAULT_PORTS.get(self.scheme) if self.port is None else self.port

    @property
    def name(self) -> str:
        """The function's or service's name: the last segment, or the one before it if the last looks like an id.

        An id is 8 or 16 lower-case hex digits; only the portal at the address knows for certain. "" without segments.
        """
        if len(self.segments) > 1 and _ID.fullmatch(self.segments[-1]):
            return self.segments[-2]
        return self.segments[-1] if self.segments else ""

    def child(self, *segments: str) -> Address:
        """The address that many segments (decoded; "name@version" too) below this one, without query and fragment."""
        return Address.parse(f"{self.base}{self.path.rstrip('/')}{_path_text(segments) if segments else ''}")

    def with_query(self, **pairs: str | float | None) -> Address:
        """The same address with these query values set; None takes one out. Other pairs keep their places."""
        kept = [(name, value) for name, value in self.query if name not in pairs]
        added = [(name, str(value)) for name, value in pairs.items() if value is not None]
        return Address.parse(_with_tail(f"{self.base}{self.path}", [*kept, *added], self.fragment))

    def resolve(self, reference: Address | str) -> Address:
        """The address that a reference means when it is found at this address (RFC 3986 section 5.2).

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
        scheme = _SCHEME.match(reference)
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


class _Parts(NamedTuple):
    scheme: str
    host: str = ""
    port: int | None = None
    segments: tuple[str, ...] = ()
    version: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    fragment: str = ""


class AddressBuilder:
    """Makes an address from decoded parts; every step gives a new builder, so a half-made one can be shared.

        AddressBuilder("http").host("127.0.0.1").port(8080).path("api", "add").version("2").query(a="b").build()

    Parts are taken literally: what an address cannot hold as it is gets percent-encoded. Threads: any.
    """

    __slots__ = ("_parts",)

    def __init__(self, scheme: str) -> None:
        self._parts = _Parts(scheme)

    def _with(self, **changes: Any) -> AddressBuilder:
        builder = AddressBuilder(self._parts.scheme)
        builder._parts = self._parts._replace(**changes)
        return builder

    def host(self, host: str) -> AddressBuilder:
        """Host name, IPv4 or IPv6 address (without brackets); only for schemes that have one."""
        return self._with(host=host)

    def port(self, port: int | None) -> AddressBuilder:
        """Port, 0 to 65535; None for the scheme's default."""
        return self._with(port=port)

    def path(self, *segments: str) -> AddressBuilder:
        """The whole path, segment by segment; an "@" in one is literal."""
        return self._with(segments=segments)

    def version(self, version: str | None) -> AddressBuilder:
        """A version, written `name@version`, or a range of versions, written `?version=`."""
        return self._with(version=version)

    def query(self, **pairs: str | float) -> AddressBuilder:
        """Add query pairs."""
        return self._with(query=(*self._parts.query, *((name, str(value)) for name, value in pairs.items())))

    def fragment(self, fragment: str) -> AddressBuilder:
        """The fragment; "" for none."""
        return self._with(fragment=fragment)

    def build(self) -> Address:
        """The address. Raises AddressError; its position counts in the text that the parts make."""
        parts = self._parts
        scheme = _SCHEME.fullmatch(parts.scheme)
        if scheme is None or scheme[1]:
            raise AddressError(f"{parts.scheme!r} is no scheme", reason="no scheme")
        query = list(parts.query)
        path = _path_text(parts.segments).replace("@", "%40")
        if parts.version is not None and parts.segments and not set(parts.version) & set("<>=~!,"):
            path += "@" + _quoted(parts.version, _SEGMENT_SAFE)
        elif parts.version is not None:
            query.append(("version", parts.version))
        if parts.scheme.lower() in _NETWORK:
            text = f"{parts.scheme}://{_given_authority(parts.host, parts.port)}{path}"
        elif parts.host or parts.port is not None:
            raise AddressError(f"a {parts.scheme} address has no host and no port", reason="no host in this scheme")
        else:
            text = f"{parts.scheme}://{path[1:]}"
        return Address.parse(_with_tail(text, query, parts.fragment))


def _authority(host: str, port: int | None) -> str:
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def _given_authority(host: str, port: int | None) -> str:
    if not set(host).isdisjoint("/?#@%[]"):  # it would end the host early and lead elsewhere
        raise AddressError("the host holds a character that no host has", reason="no valid host name")
    return _authority(host, port)


def _quoted(text: str, safe: str = "") -> str:
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError as error:
        raise AddressError(f"{text!r} is no text", reason="lone surrogate", position=error.start) from None


def _path_text(segments: tuple[str, ...]) -> str:
    for segment in segments:
        if segment in ("", ".", ".."):
            raise AddressError(f"{segment!r} is no segment of a path", reason="empty or dot segment")
    return "/" + "/".join(_quoted(segment, _SEGMENT_SAFE) for segment in segments)


def _with_tail(text: str, pairs: list[tuple[str, str]], fragment: str) -> str:
    query = "&".join(f"{_quoted(name, _TAIL_SAFE)}={_quoted(value, _TAIL_SAFE + '=')}" for name, value in pairs)
    return text + (f"?{query}" if query else "") + (f"#{_quoted(fragment, _SEGMENT_SAFE + '/?')}" if fragment else "")


def _host_port(text: str, authority: str, start: int) -> tuple[str, int | None]:
    if "@" in authority:
        _refuse(text, start, "userinfo: a credential does not belong in an address")
    if not authority or authority[0] == ":":
        _refuse(text, start, "empty host")
    found = _HOST_PORT.match(authority)
    end = found.end() if found else 0
    if found is None or end < len(authority):
        _refuse(text, start + end, "neither host nor port; an IPv6 address needs brackets, a port is a number")
    host, digits = found[1], (found[2] or "").lstrip("0") or found[2]
    if digits and (len(digits) > 5 or int(digits) > 65535):
        _refuse(text, start + found.start(2), "port above 65535")
    normal = _ipv6(text, host, start) if host[0] == "[" else _host_name(text, host, start)
    return normal, int(digits) if digits else None


def _host_name(text: str, host: str, start: int) -> str:
    if "%" in host:
        host = unquote(_normal(text, host, start, _PATH_ESCAPE))
    if not host.isascii() and len(host) <= 254:  # the codec takes quadratic time
        with suppress(UnicodeError):
            host = host.encode("idna").decode("ascii")
    host = host.lower()
    if len(host) > 254 or not _HOST_NAME.fullmatch(host):
        _refuse(text, start, "no valid host name")
    if _NUMERIC_HOST.fullmatch(host):  # such a host is never a name; resolvers read 0x7f.1 or 2130706433 as IPv4
        try:
            IPv4Address(host)
        except AddressValueError:
            _refuse(text, start, "no valid IPv4 address")
    return host


def _ipv6(text: str, host: str, start: int) -> str:
    if "%" in host:
        _refuse(text, start + host.index("%"), "zone id: it has a meaning on one machine only")
    try:
        address = IPv6Address(host[1:-1])
    except AddressValueError:
        _refuse(text, start + 1, "no valid IPv6 address")
    mapped = address.ipv4_mapped  # Python versions differ in how they write it
    return str(address) if mapped is None else f"::ffff:{mapped}"


def _normal(text: str, part: str, start: int, escape: re.Pattern[str]) -> str:
    def encoded(found: re.Match[str]) -> str:
        try:
            return quote(unquote_to_bytes(found[0]).decode(), safe="")
        except UnicodeDecodeError as error:
            _refuse(text, start + found.start() + 3 * error.start, "percent-encoding that is not UTF-8")

    return escape.sub(encoded, part) if part else part


def _normal_path(text: str, path: str, start: int) -> str:
    if "//" in path:
        _refuse(text, start + path.index("//") + 1, "empty segment")
    path = _normal(text, path, start, _PATH_ESCAPE)
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _segments(text: str, path: str, end: int) -> tuple[tuple[str, ...], str | None]:
    segments = path.strip("/").split("/") if path != "/" else []
    version = None
    for place in (-1, -2)[: len(segments)] if "@" in path else ():
        name, at, found = segments[place].partition("@")
        if name and found:
            segments[place], version = name, unquote(found)
            break
        if at and place == -1:
            _refuse(text, text.rindex("@", 0, end), "empty version" if name else "empty name")
    return tuple(map(unquote, segments) if "%" in path else segments), version


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    cut = (piece.partition("=") for piece in query.split("&") if piece)
    return tuple((unquote(name), unquote(value)) for name, _, value in cut)


def _one_version(text: str, version: str | None, pairs: tuple[tuple[str, str], ...], start: int) -> str | None:
    for name, value in pairs:
        if name == "version":
            if not value:
                _refuse(text, start, "empty version")
            if version not in (None, value):
                _refuse(text, start, "two versions")
            version = value
    return version


def _refuse(text: str, position: int | None, reason: str) -> NoReturn:
    shown = re.sub(r"//.*@", "//***@", text, flags=re.DOTALL)  # what stands before an "@" may be a password
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    where = "" if position is None else f" at position {position}"
    raise AddressError(f"{shown!r} is no address: {reason}{where}", position=position, reason=reason)


def _refuse_text(text: str) -> NoReturn:
    if len(text) > _MAX_LENGTH:
        _refuse(text, _MAX_LENGTH, f"longer than {_MAX_LENGTH} characters")
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        _refuse(text, forbidden.start(), _what_is_wrong(text, forbidden.start()))
    scheme = _SCHEME.match(text)
    if scheme is None:
        _refuse(text, 0, f"no scheme (such as {_likely_scheme(text)})" if text else "empty")
    _refuse(text, scheme.end() - len(scheme[1] or ""), f"no :// after a scheme (such as {_likely_scheme(text)})")


def _likely_scheme(text: str) -> str:
    """Of what was left out: a name with a port or a path after it is a server's."""
    return "http://" if re.match(r"[\w.-]*[:/]", text) else "local://"


def _what_is_wrong(text: str, position: int) -> str:
    character = text[position]
    if character == "%":
        in_brackets = _IN_BRACKETS.fullmatch(text, 0, position)
        return "zone id" if in_brackets else "percent sign without two hex digits"
    if character == "\\":
        return "backslash"
    if "\ud800" <= character <= "\udfff":
        return "lone surrogate"
    return "whitespace" if character.isspace() else "control character"
