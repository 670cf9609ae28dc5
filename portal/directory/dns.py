"""DNSSource: instances from DNS, at `dns://name`, as Kubernetes has them for headless services.

    dns://billing.default.svc.cluster.local?port=8080             an instance for each address of A and AAAA records
    dns://_http._tcp.billing.default.svc.cluster.local            an instance for each SRV record, with its port
    dns://10.0.0.10:53/billing.example?port=8443&scheme=https     asks this server

Every function is taken to be served by each host: the address of `billing/charge` is
`http://HOST:PORT/api/billing/charge`. Options of the query: `port` (of address records), `scheme` (`http`) and `path`
(`/api`).

Answers are kept for their TTL, but for 1 second at least and 5 minutes at most, and so is the answer that there is no
such name (RFC 2308). Of SRV records those with the smallest priority count, and their weights (RFC 2782).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .._internal.settings import choice, port, url_path
from ..address import Address
from ..errors import ConfigError, PortalError
from .instance import Instance
from .rejections import RejectionLog
from .source import Lookup

__all__ = ["DNSSource"]

_MIN_TTL, _MAX_TTL = 1.0, 300.0  # seconds
_TIMEOUT = 2.0  # seconds for one question, over all servers
_Host = tuple[str, int, float]  # host, port, weight


class DNSSource:
    """Asks a name server again whenever its last answer has expired.

    Args:
        url: see this module.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong URL, or if dnspython is not installed.

    Threads: one at a time.
    """

    trusted = False
    problem = None

    def __init__(self, url: str, clock: Callable[[], float] = monotonic) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        server, name = (parts.netloc, parts.path.strip("/")) if parts.path.strip("/") else ("", parts.netloc)
        if not name or options.keys() - {"port", "scheme", "path"} or parts.fragment:
            expected = "dns://NAME or dns://SERVER/NAME, with port=, scheme= and path= in the query"
            raise ConfigError.invalid("directory", url, expected)
        self._name = name
        self._is_srv = name.startswith("_")
        self._scheme: str = choice("directory.scheme", options.get("scheme", "http"), ("http", "https", "ws", "wss"))
        self._path = url_path("directory.path", options.get("path", "/ws" if self._scheme[0] == "w" else "/api"))
        self._port = self._port_of(options.get("port"), url)
        self._dns = _dns_package()
        self._resolver = _resolver(self._dns, server)
        self._clock = clock
        self._log = RejectionLog(f"a record of {name:.80} in DNS is left out", clock=clock)
        self._until = 0.0
        self._hosts: tuple[_Host, ...] | None = None

    def _port_of(self, given: str | None, url: str) -> int:
        if self._is_srv:
            return 0
        if given is None or not given.isdecimal():
            raise ConfigError.invalid("directory.port", given, f"a port in the query of {url}, such as ?port=8080")
        return port("directory.port", int(given))

    @property
    def interval(self) -> float:
        """Seconds until the answer expires."""
        return max(0.05, self._until - self._clock())

    def poll(self) -> Lookup | None:
        """Return the instances, or None if the answer has not expired or is the same.

        Raises: what dnspython raises if no server answers; OSError.
        """
        if self._hosts is not None and self._clock() < self._until:
            return None
        self._until = self._clock() + _MIN_TTL  # before an error, so that the next question is not asked at once
        hosts, ttl = self._ask_srv() if self._is_srv else self._ask_addresses()
        self._until = self._clock() + max(_MIN_TTL, min(ttl, _MAX_TTL))
        found = tuple(sorted(one for one in set(hosts) if self._is_usable(one)))
        if found == self._hosts:
            return None
        self._hosts = found
        return lambda name: tuple(self._instance(host, name) for host in found)

    def _is_usable(self, host: _Host) -> bool:
        """Return whether a record makes an address. One that does not must not hide the others."""
        try:
            self._instance(host, "x")
        except PortalError as error:
            self._log.note(f"{host[0]}:{host[1]}", error)
            return False
        return True

    def _instance(self, host: _Host, name: str) -> Instance:
        segments = (*filter(None, self._path.split("/")), *name.split("/"))
        return Instance(Address.network(self._scheme, host[0], host[1], segments), host[2])

    def _ask_srv(self) -> tuple[list[_Host], float]:
        records, ttl = self._ask("SRV")
        first = min((record.priority for record in records), default=0)
        chosen = [record for record in records if record.priority == first and str(record.target) != "."]
        even = all(record.weight == 0 for record in chosen)
        # A weight of 0 beside others means "hardly ever" and not "never".
        return [
            (str(one.target).rstrip("."), one.port, 1.0 if even else max(0.1, float(one.weight))) for one in chosen
        ], ttl

    def _ask_addresses(self) -> tuple[list[_Host], float]:
        found, ttls = [], []
        for kind in ("A", "AAAA"):
            records, ttl = self._ask(kind)
            found += [(str(one.address), self._port, 1.0) for one in records]
            ttls.append(ttl)
        return found, min(ttls)

    def _ask(self, kind: str) -> tuple[list[Any], float]:
        """Return the records of a kind and their TTL; no records and the TTL of that answer if there are none."""
        try:
            answer = self._resolver.resolve(self._name, kind, lifetime=_TIMEOUT)
        except self._dns.NXDOMAIN as error:
            names: Any = error.qnames()
            return [], _negative_ttl(error.response(names[0]))
        except self._dns.NoAnswer as error:
            return [], _negative_ttl(error.response())
        return list(answer), float(answer.chaining_result.minimum_ttl)  # that of aliases on the way counts, too

    def close(self) -> None:
        """Do nothing: each question has a socket of its own."""


def _negative_ttl(response: Any) -> float:
    """Return the seconds for which an answer without records holds: the smaller of the SOA's TTL and minimum."""
    for rrset in response.authority:
        for record in rrset:
            if hasattr(record, "minimum"):
                return float(min(rrset.ttl, record.minimum))
    return _MIN_TTL


def _dns_package() -> Any:
    try:
        return import_module("dns.resolver")
    except ImportError:  # pragma: no cover - the tests have it
        message, hint = "dnspython must be installed for dns://", "pip install 'portal-functions[dns]'"
        raise ConfigError(message, path="directory", hint=hint) from None


def _resolver(package: Any, server: str) -> Any:
    made = package.Resolver(configure=not server)
    if server:
        host, colon, number = server.rpartition(":")
        if not colon or not number.isdecimal():
            host, number = server, "53"
        made.nameservers = [host.strip("[]")]
        made.port = port("directory.server", int(number))
    made.cache = None
    return made
