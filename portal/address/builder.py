"""AddressBuilder: make an address of decoded parts."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import AddressError
from .address import Address
from .grammar import NETWORK_SCHEMES, SCHEME
from .host import join_decoded_host_port
from .percent import SEGMENT_SAFE, append_tail, encode, encode_path

__all__ = ["AddressBuilder"]


class _Parts(NamedTuple):
    scheme: str
    host: str = ""
    port: int | None = None
    segments: tuple[str, ...] = ()
    version: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    fragment: str = ""


class AddressBuilder:
    """Make an address of decoded parts. Each step returns a new builder, so an unfinished one can be shared.

        AddressBuilder("http").host("127.0.0.1").port(8080).path("api", "add").version("2").query(a="b").build()

    Parts are taken literally: characters that an address cannot hold are percent-encoded.

    Threads: immutable; any thread may use it.
    """

    __slots__ = ("_parts",)

    def __init__(self, scheme: str) -> None:
        self._parts = _Parts(scheme)

    def _with(self, **changes: Any) -> AddressBuilder:
        builder = AddressBuilder(self._parts.scheme)
        builder._parts = self._parts._replace(**changes)
        return builder

    def host(self, host: str) -> AddressBuilder:
        """Set the host: a name, IPv4 or IPv6 address without brackets. Only a scheme of servers has one."""
        return self._with(host=host)

    def port(self, port: int | None) -> AddressBuilder:
        """Set the port, 0 to 65535; None is the scheme's default."""
        return self._with(port=port)

    def path(self, *segments: str) -> AddressBuilder:
        """Set the whole path, segment by segment; an "@" in one is literal."""
        return self._with(segments=segments)

    def version(self, version: str | None) -> AddressBuilder:
        """Set a version, written `name@version`, or a range of versions, written `?version=`."""
        return self._with(version=version)

    def query(self, **pairs: str | float) -> AddressBuilder:
        """Add query pairs."""
        return self._with(query=(*self._parts.query, *((name, str(value)) for name, value in pairs.items())))

    def fragment(self, fragment: str) -> AddressBuilder:
        """Set the fragment; "" is none."""
        return self._with(fragment=fragment)

    def build(self) -> Address:
        """Return the address. Raises AddressError, whose position counts in the text that the parts make."""
        parts = self._parts
        scheme = SCHEME.fullmatch(parts.scheme)
        if scheme is None or scheme[1]:
            raise AddressError(f"the scheme must be a word such as http, got {parts.scheme!r}", reason="no scheme")
        query = list(parts.query)
        path = encode_path(parts.segments).replace("@", "%40")
        if parts.version is not None and parts.segments and not set(parts.version) & set("<>=~!,"):
            path += "@" + encode(parts.version, SEGMENT_SAFE)
        elif parts.version is not None:
            query.append(("version", parts.version))
        if parts.scheme.lower() in NETWORK_SCHEMES:
            text = f"{parts.scheme}://{join_decoded_host_port(parts.host, parts.port)}{path}"
        elif parts.host or parts.port is not None:
            raise AddressError(
                f"an address with the scheme {parts.scheme} must have no host and no port",
                reason="no host in this scheme",
            )
        else:
            text = f"{parts.scheme}://{path[1:]}"
        return Address.parse(append_tail(text, query, parts.fragment))
