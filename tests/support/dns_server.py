"""A small DNS server on UDP: it answers from a table that a test changes."""

from __future__ import annotations

import socket
import threading
from typing import Any

import dns.message
import dns.rcode
import dns.rrset

__all__ = ["DNSServer"]


class DNSServer:
    """Answers questions for records by (name, kind).

    Attributes:
        records: (name with a final dot, kind) -> (TTL, texts of the records). A name without records does not exist.
        asked: the questions so far.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.negative_ttl = 1
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if data == b"end":
                return
            if not self.silent:
                self._socket.sendto(self._answer(data), client)

    def _answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        response: Any = dns.message.make_response(query)
        question = query.question[0]
        name, kind = str(question.name), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        alias_ttl, aliases = self.records.get((name, "CNAME"), (0, []))
        if aliases:
            response.answer.append(dns.rrset.from_text(name, alias_ttl, "IN", "CNAME", *aliases))
            name = aliases[0]
        ttl, texts = self.records.get((name, kind), (0, []))
        if texts:
            response.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, *texts))
        else:
            if not any(known == name for known, _ in self.records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            soa = f"ns.example. admin.example. 1 3600 600 86400 {self.negative_ttl}"
            response.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", soa))
        return bytes(response.to_wire())

    def __enter__(self) -> DNSServer:
        return self

    def __exit__(self, *exc: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join(30.0)
        self._socket.close()
