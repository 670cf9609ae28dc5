"""ResolverTable: the resolvers of a Consumer by address scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.closing import close_and_log
from ..address import Address
from ..errors import AddressError, ConfigError
from ..portal import Resolver, in_process_portals
from ..registry.portals import PortalRegistry
from .closed import closed_error
from .intercepts import intercepts
from .schemes import make_resolver

__all__ = ["ResolverTable", "check_resolvers", "one_address", "require_own_credentials"]


class ResolverTable:
    """Choose the resolvers for an address.

    An intercept of the process that owns the address responds alone. Otherwise given resolvers come first. A scheme
    without one is resolved by `configured`. If no resolver was given, the portals of this process come next, and a
    built-in resolver or a plug-in is made for any other scheme.

    Args:
        given: the resolvers that the user passed, which are not closed here.
        configured: resolvers with settings of the user's, which are closed here.
        make_built_in: returns a new resolver for a scheme that needs no plug-in, or None for any other scheme.

    Threads: any; a look-up takes no lock. Fork: a child process makes resolvers of its own.
    """

    def __init__(
        self,
        given: Iterable[Resolver],
        *,
        configured: Iterable[Resolver] = (),
        make_built_in: Callable[[str], Resolver | None],
    ) -> None:
        self._given = PortalRegistry(given)
        self._only_given = bool(self._given.schemes())
        self._configured = {scheme: resolver for resolver in configured for scheme in resolver.schemes}
        self._own = dict(self._configured)  # resolvers to close; replaced as a whole
        self._make_built_in = make_built_in
        self._lock = new_lock()  # guards replacing `_own`; not held while a resolver is made
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop the resolvers made by the parent process and their connections; a child calls this by itself.

        The configured resolvers stay: they open connections of their own in a child.
        """
        self._own = dict(self._configured)

    def resolvers_for(self, address: Address) -> Sequence[Resolver]:
        """Return the resolvers for an address, at least one, in the order to try them.

        Raises: ConsumerError after `close`; RegistryError (not_found) for an unknown scheme; ConfigError for a plug-in
            that fails.
        """
        if self._closed:
            raise closed_error()
        intercept = intercepts.find(address)
        if intercept is not None:
            return (intercept,)
        scheme = address.scheme
        given = self._given.find(scheme)
        if given:
            return given
        own = self._own.get(scheme)
        if own is not None:
            return (own,)
        if self._only_given:
            return self._given.get(scheme)  # raises: the scheme is unknown
        return in_process_portals(scheme) or (self._make(scheme),)

    def _make(self, scheme: str) -> Resolver:
        made = make_resolver(scheme, self._make_built_in)
        with self._lock:
            resolver = made if self._closed else self._own.get(scheme, made)
            if resolver is made and not self._closed:
                self._own = {**dict.fromkeys(made.schemes, made), **self._own}
        if resolver is not made or self._closed:
            made.close()  # another thread made one first, or closed the consumer
        if self._closed:
            raise closed_error()
        return resolver

    def register(self, resolver: Resolver) -> None:
        """Put a resolver before all others of its schemes.

        Raises: RegistryError (conflict) when it is registered already.
        """
        self._given.register(resolver)

    def all(self) -> list[Resolver]:
        """Return the given resolvers and those made so far, each once."""
        return list(dict.fromkeys([*self._given.portals(), *self._own.values()]))

    def close(self) -> None:
        """Close the resolvers made here and the configured ones. May be called twice."""
        with self._lock:
            self._closed = True
            own, self._own = list(dict.fromkeys(self._own.values())), {}
        for resolver in own:
            close_and_log(resolver, f"the resolver {type(resolver).__name__}")


def check_resolvers(setting: str, given: Any) -> list[Resolver]:
    """Return the resolvers of a setting as a list. Raises ConfigError for anything else."""
    if isinstance(given, Resolver | str) or not isinstance(given, Iterable):
        raise ConfigError.invalid(setting, given, "a list of resolvers or portals")
    resolvers = list(given)
    for resolver in resolvers:
        if not isinstance(resolver, Resolver):
            expected = "a resolver or portal; for a URL pass the address to call_at"
            raise ConfigError.invalid(setting, resolver, expected)
    return resolvers


def require_own_credentials(given: Iterable[Resolver]) -> None:
    """Reject a credential or cache beside a resolver that would not use it. Raises ConfigError."""
    for resolver in given:
        if not resolver.in_process:
            expected = "left out where remote resolvers are given: HTTPResolver(HTTPClient(auth=..., cache=...))"
            raise ConfigError(f"auth and cache must be {expected}", path="auth", expected=expected)


def one_address(value: Address | str) -> Address:
    """Return one address. Raises: AddressError, which names `Consumer.call` for a name and for several addresses."""
    try:
        return Address.of(value)
    except AddressError as error:
        if _goes_to_call(value):
            words = f"{error.message}; a name of a directory, or several addresses, go to Consumer.call"
            raise AddressError(words, reason=error.reason, position=error.position) from None
        raise


def _goes_to_call(value: object) -> bool:
    return ":" not in value if isinstance(value, str) else isinstance(value, list | tuple)
