"""Instance: one place where a function is served."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._internal.settings import instance, number, text
from ..address import Address

__all__ = ["Instance"]

_MAX_WEIGHT = 1_000_000
_set = object.__setattr__


@dataclass(frozen=True, slots=True, init=False)
class Instance:
    """One place where a function is served.

    Instances with the same address are the same place. A change of another attribute makes an unequal Instance of that
    place; the new one replaces the old one.

    Args:
        address: where the function is published; a text is parsed.
        weight: the share of calls in comparison with other instances. An instance of weight 0 gets no calls.
        zone: where it runs, such as "eu-1a"; callers prefer their own zone. None if not known.
        version: the version of the function, or None if not known.
        fingerprint: the fingerprint of the function's schema, or None if not known.
        lease: the time at which the directory drops the instance unless it is renewed, as `time.time`. None for an
            instance that stays until it is removed. It is not compared.

    Raises: ConfigError for a wrong setting; AddressError for a text that is not an address.

    Threads: immutable; any thread may read it.
    """

    address: Address
    weight: float
    zone: str | None
    version: str | None
    fingerprint: str | None
    lease: float | None = field(compare=False)

    def __init__(
        self,
        address: Address | str,
        weight: float = 1.0,
        *,
        zone: str | None = None,
        version: str | None = None,
        fingerprint: str | None = None,
        lease: float | None = None,
    ) -> None:
        _set(self, "address", Address.of(instance("instance.address", address, (Address, str))))
        _set(self, "weight", number("instance.weight", weight, minimum=0, maximum=_MAX_WEIGHT))
        _set(self, "zone", text("instance.zone", zone, optional=True))
        _set(self, "version", text("instance.version", version, optional=True))
        _set(self, "fingerprint", text("instance.fingerprint", fingerprint, optional=True))
        _set(self, "lease", number("instance.lease", lease, minimum=0, optional=True))

    @staticmethod
    def of(value: Instance | Address | str) -> Instance:
        """Return an instance as it is, or the instance of weight 1 at an address."""
        return value if isinstance(value, Instance) else Instance(Address.of(value))

    def __str__(self) -> str:
        return str(self.address)
