"""ServiceProxy: the functions of a service as attributes of an object."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from time import monotonic
from typing import Any

from ..._internal.at_fork import new_lock
from ...address import Address
from ...errors import PortalError, RegistryError
from ...function import Function
from ...schema import check_name

__all__ = ["ServiceProxy", "UnknownFunctionError"]

#: Seconds. A younger list of functions is not fetched again for an unknown name: wrong names must not double the load.
_MIN_AGE = 5.0


class UnknownFunctionError(RegistryError, AttributeError):
    """A function that a service does not have. It is an AttributeError too, as `hasattr` needs."""


class _Help:
    """The docstring of a class, and the help of each instance."""

    def __init__(self, docstring: str | None) -> None:
        self._docstring = docstring

    def __get__(self, instance: ServiceProxy | None, owner: type | None = None) -> str | None:
        return self._docstring if instance is None else instance._help()


class ServiceProxy:
    """The functions of a service at an address: `warehouse.level(sku="PEN")`.

    Make one with `Consumer.service`. An attribute is a function of that name, as `Consumer.resolve` returns it:
    parameters are validated before they are sent, and the result is JSON data. `warehouse["level@1"]` is a version of
    it, and `warehouse["stock-level"]` one whose name is not an identifier. `dir` and `help` list the functions.

    The proxy follows a service that is deployed anew: a function whose schema has changed fetches the new schema. For
    an unknown name the proxy asks the server again which functions there are. It can be pickled if its consumer has no
    settings.

    Args:
        address: of the service.
        description: of the service, for `help`.
        fetch: returns the description of each function by its name.
        resolve: returns the function at an address.
        reference: what `__reduce__` returns, so that another process finds the service again; None if it cannot.
        clock: the time in seconds.

    Raises: what `fetch` raises.

    Threads: any.
    """

    __doc__ = _Help(__doc__)  # `help` of an instance shows its service

    def __init__(
        self,
        address: Address,
        description: str,
        fetch: Callable[[], Mapping[str, str]],
        resolve: Callable[[Address], Function],
        *,
        reference: tuple[Callable[..., Any], tuple[Any, ...]] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._address = address
        self._description = description.strip() or f"The service at {address}."
        self._functions = _Functions(address, fetch, resolve, clock)
        self._reference = reference

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self[name]

    def __getitem__(self, name: str) -> Function:
        """Return the function of a name, or of a name and a version: `level@1`."""
        return self._functions.get(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate the names of the functions."""
        return iter(sorted(self._functions.names()))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in self if name.isidentifier())})

    def __repr__(self) -> str:
        return f"<ServiceProxy {self._address}: {', '.join(self)}>"

    def __reduce__(self) -> Any:
        if self._reference is None:
            message = (
                f"the service at {self._address} cannot be pickled, because its consumer has settings; "
                f"call Consumer.service({str(self._address)!r}) in the other process"
            )
            raise pickle.PicklingError(message)
        return self._reference

    def _help(self) -> str:
        signatures = self._functions.signatures()
        rows = [
            f"{name}{signatures.get(name, '')}\n    {words.strip().partition(chr(10))[0]}".rstrip()
            for name, words in sorted(self._functions.names().items())
        ]
        return "\n\n".join([self._description, "Functions:", *rows])


class _Functions:
    """The functions of a service, resolved on first use.

    Threads: any; the tables are replaced as a whole.
    """

    def __init__(
        self,
        address: Address,
        fetch: Callable[[], Mapping[str, str]],
        resolve: Callable[[Address], Function],
        clock: Callable[[], float],
    ) -> None:
        self._address = address
        self._fetch = fetch
        self._resolve = resolve
        self._clock = clock
        self._lock = new_lock()  # guards replacing the tables; not held while one is fetched
        self._described = fetch()
        self._fetched_at = clock()
        self._found: dict[str, Function] = {}

    def names(self) -> Mapping[str, str]:
        """Return the description of each function by its name."""
        return self._described

    def signatures(self) -> dict[str, str]:
        """Return the signature of each function by its name; none of those that cannot be resolved now."""
        found = {}
        with suppress(PortalError):  # each further function would wait for a server that does not respond
            for name in self._described:
                with suppress(RegistryError):  # removed since the list was fetched
                    found[name] = str(inspect.signature(self.get(name)))
        return found

    def get(self, name: str) -> Function:
        found = self._found.get(name)
        if found is None:
            plain = name.partition("@")[0]
            if plain not in self._described:
                self._refresh()
            if plain not in self._described:
                raise self._unknown(name)
            found = self._resolve(self._address.child(*_segments(name)))
            with self._lock:
                self._found = {**self._found, name: found}
        return found

    def _refresh(self) -> None:
        if self._clock() - self._fetched_at < _MIN_AGE:
            return
        described = self._fetch()
        with self._lock:
            self._described, self._fetched_at = described, self._clock()

    def _unknown(self, name: str) -> UnknownFunctionError:
        near = get_close_matches(name, self._described, n=3)
        advice = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(sorted(self._described))}"
        message = f"service {self._address} has no function {name!r:.120}{advice}"
        return UnknownFunctionError(message, name=name[:120], address=self._address)


def _segments(name: str) -> tuple[str, ...]:
    plain, at, version = name.partition("@")
    return (f"{check_name(plain)}{at}{version}",)
