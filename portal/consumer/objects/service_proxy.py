"""ServiceProxy: the functions of a service as attributes of an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from time import monotonic

from ..._internal.at_fork import new_lock
from ...address import Address
from ...errors import RegistryError
from ...function import Function
from ...schema import check_name

__all__ = ["ServiceProxy", "UnknownFunctionError", "service_proxy"]

#: Seconds. A younger list of functions is not fetched again for an unknown name: wrong names must not double the load.
_MIN_AGE = 5.0


class UnknownFunctionError(RegistryError, AttributeError):
    """A function that a service does not have. It is an AttributeError too, as `hasattr` needs."""


class ServiceProxy:
    """The functions of a service at an address: `warehouse.level(sku="PEN")`.

    Make one with `Consumer.service`. An attribute is a function of that name, as `Consumer.resolve` returns it:
    parameters are validated before they are sent, and the result is JSON data. `warehouse["level@1"]` is a version of
    it, and `warehouse["stock-level"]` one whose name is not an identifier. `dir` and `help` list the functions.

    The proxy follows a service that is deployed anew: a function whose schema has changed fetches the new schema. For
    an unknown name the proxy asks the server again which functions there are.

    Threads: any.
    """

    _address: Address
    _resolve: Callable[[Address], Function]
    _fetch: Callable[[], Mapping[str, str]]

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self[name]

    def __getitem__(self, name: str) -> Function:
        """Return the function of a name, or of a name and a version: `level@1`."""
        functions: _Functions = self.__dict__["_functions"]
        return functions.get(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate the names of the functions."""
        functions: _Functions = self.__dict__["_functions"]
        return iter(sorted(functions.names()))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in self if name.isidentifier())})

    def __repr__(self) -> str:
        return f"<ServiceProxy {self._address}: {', '.join(self)}>"


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


def service_proxy(
    address: Address,
    description: str,
    fetch: Callable[[], Mapping[str, str]],
    resolve: Callable[[Address], Function],
    *,
    clock: Callable[[], float] = monotonic,
) -> ServiceProxy:
    """Return the proxy of a service.

    Args:
        address: of the service.
        description: of the service, for `help`.
        fetch: returns the description of each function by its name.
        resolve: returns the function at an address.
        clock: the time in seconds.

    Raises: what `fetch` raises.
    """
    functions = _Functions(address, fetch, resolve, clock)
    rows = [f"{name}\n    {words.strip().partition(chr(10))[0]}" for name, words in sorted(functions.names().items())]
    words = "\n\n".join([description.strip() or f"The service at {address}.", "Functions:", *rows])
    # `help` shows the class of an object: each proxy has one, with the words of its service
    kind = type("ServiceProxy", (ServiceProxy,), {"__doc__": words, "__module__": __name__})
    proxy: ServiceProxy = kind()
    proxy.__dict__.update(_functions=functions, _address=address)
    return proxy
