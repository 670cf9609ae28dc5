"""Record: what a serving portal writes into a directory, as signed JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from ..errors import PortalError
from .instance import Instance

__all__ = [
    "MAX_SIZE",
    "MAX_SKEW",
    "ExpiredRecord",
    "Record",
    "RejectedRecord",
    "Served",
    "decode",
    "encode",
    "is_expired",
]

#: Seconds by which the clocks of two hosts may differ.
MAX_SKEW = 60.0
#: Characters of one record. Consumers reject a longer one.
MAX_SIZE = 1_048_576


class RejectedRecord(Exception):
    """A record that is not signed as it must be, or that cannot be read."""


class ExpiredRecord(RejectedRecord):
    """A record that was signed too long ago, or in the future. Its next renewal may be usable."""


@dataclass(frozen=True, slots=True)
class Served:
    """A function that a portal serves, by its name in the directory.

    Threads: immutable; any thread may read it.
    """

    name: str
    instance: Instance


@dataclass(frozen=True, slots=True)
class Record:
    """One serving portal.

    Attributes:
        functions: what it serves.
        lease: seconds after which the portal is dropped unless it renews the record.
        load: calls that were running when the record was written.
        at: when the record was written, as `time.time`.

    Threads: immutable; any thread may read it.
    """

    functions: tuple[Served, ...]
    lease: float
    load: float = 0.0
    at: float = 0.0

    def renewed(self, at: float, load: float) -> Record:
        """Return the record as of a later moment."""
        return replace(self, at=at, load=load)


def encode(record: Record, owner: str, key: bytes | None) -> str:
    """Return a record as text.

    Args:
        owner: who writes it; a signature holds for this owner only.
        key: signs it; None leaves it unsigned.
    """
    body = json.dumps(_to_json(record), separators=(",", ":"))
    return json.dumps({"body": body, **({"sign": _sign(key, owner, body)} if key is not None else {})})


def decode(text: str, owner: str, key: bytes | None, now: float) -> Record:
    """Return the record of a text.

    Args:
        owner, key: see `encode`. With a key, a record must be signed and must not be older than its lease.
        now: as `time.time`.

    Raises: RejectedRecord; ExpiredRecord for the time of a signature.
    """
    try:
        if len(text) > MAX_SIZE:
            raise RejectedRecord(f"it is longer than {MAX_SIZE} characters")
        outer = json.loads(text)
        body = outer["body"]
        if key is not None and not hmac.compare_digest(_sign(key, owner, body), str(outer.get("sign", ""))):
            raise RejectedRecord("its signature is missing or wrong")
        record = _of_json(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, PortalError) as error:
        raise RejectedRecord(f"it cannot be read: {type(error).__name__}: {error}") from error
    if key is not None and is_expired(record, now):
        raise ExpiredRecord("its signature has expired")
    return record


def is_expired(record: Record, now: float) -> bool:
    """Return whether the signature of a record is too old, or of the future."""
    return not abs(now - record.at) <= record.lease + MAX_SKEW  # so also for a time that is not a number


def _sign(key: bytes, owner: str, body: str) -> str:
    return hmac.new(key, f"portal-directory-1\n{owner}\n{body}".encode(), hashlib.sha256).hexdigest()


def _to_json(record: Record) -> dict[str, Any]:
    return {
        "functions": [
            {"name": one.name, "address": str(one.instance.address), **_options(one.instance)}
            for one in record.functions
        ],
        "lease": record.lease,
        "load": record.load,
        "at": record.at,
    }


def _options(instance: Instance) -> dict[str, Any]:
    found = {name: getattr(instance, name) for name in ("weight", "zone", "version", "fingerprint")}
    return {name: value for name, value in found.items() if value is not None}


def _of_json(data: Mapping[str, Any]) -> Record:
    rows: Iterable[Mapping[str, Any]] = data["functions"]
    served = tuple(Served(str(row["name"]), instance_of(row)) for row in rows)
    numbers = [float(data[name]) for name in ("lease", "load", "at")]
    if not all(map(isfinite, numbers)) or numbers[0] <= 0:
        raise ValueError("lease, load and at must be finite numbers, and lease above 0")
    return Record(served, *numbers)


def instance_of(row: Mapping[str, Any]) -> Instance:
    """Return the instance of a JSON object with an address. Raises: ConfigError, AddressError, KeyError."""
    known = {name: row[name] for name in ("weight", "zone", "version", "fingerprint") if row.get(name) is not None}
    return Instance(row["address"], known.pop("weight", 1.0), **known)
