"""Address: where a function is published, as `scheme://[authority]/path[?query][#fragment]`.

    http://127.0.0.1:8080/api/add/3f2a9c51     a server: http, https, ws, wss and dask have a host and a port
    local://add/3f2a9c51                       other schemes have no host: the path begins in its place
    local://add@2   local://add?version=>=1,<2 a version, or a range of versions

An Address is kept in its normal form, and two are equal if their normal forms are. Scheme and host are in lower case,
the default port is left out, an IDN host is punycode, and an IPv6 host is compressed. Dot segments are removed.
Percent-encoding is in upper case and only where it is needed.

Source: RFC 3986 (syntax; normal form, section 6.2; references, section 5), RFC 3987 section 3.1 (other scripts),
RFC 5952 (IPv6 text), RFC 3490 (IDN).
"""

from __future__ import annotations

from .address import Address
from .builder import AddressBuilder

__all__ = ["Address", "AddressBuilder"]
