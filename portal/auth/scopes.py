"""RequireScopes: who may call what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..calls.middleware import Call, CallNext
from ..errors import AuthenticationError, AuthorizationError, ConfigError

__all__ = ["RequireScopes"]

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3


class RequireScopes:
    """Middleware of the server: lets a call through only if its identity has every scope that the call needs.

        RequireScopes("portal", functions={"refund": ["orders:write"]}, groups={"billing": ["billing"]})

    A call needs the scopes that are given for all calls, those for its function and those for the group, or service,
    it was called in. A call that needs none passes, with an identity or without.

    Args:
        scopes: for all calls.
        functions: by the function's name, in whatever service it is.
        groups: by the name of the group or service.

    Attributes:
        named: the names of functions and groups that it was given. A portal logs, at its first request, those that it
            has not published: what is misspelt, or was renamed, protects nothing.

    Raises: AuthorizationError that names the missing scopes (`context["missing_scopes"]` has them as a list);
        AuthenticationError where nobody is known to be calling; ConfigError, when made, for what is no scope.

    Threads: any.
    """

    around = "call"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        *scopes: str,
        functions: Mapping[str, Iterable[str]] | None = None,
        groups: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self._all = _scopes("scopes", scopes)
        self._functions = _table("scopes.functions", functions)
        self._groups = _table("scopes.groups", groups)
        self.named = frozenset(self._functions) | frozenset(self._groups)

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        needed = self.needed(call)
        if needed:
            _require(call, needed)
        return call_next(call)

    def needed(self, call: Call) -> frozenset[str]:
        """The scopes that a call needs."""
        needed = self._all
        if self._functions:
            needed |= self._functions.get(call.function.schema.name, frozenset())
        if self._groups:
            needed |= self._groups.get(getattr(call, "group", ""), frozenset())
        return needed


def _require(call: Call, needed: frozenset[str]) -> None:
    identity = call.context.identity
    facts: dict[str, Any] = {"request_id": call.context.request_id, "operation": call.function.name}
    if identity is None:
        raise AuthenticationError(f"{call.function.name} needs a credential", context=facts)
    missing = sorted(needed - identity.scopes)
    if missing:
        facts["missing_scopes"] = missing
        words = f"{call.function.name} needs {'scope' if len(missing) == 1 else 'scopes'} {', '.join(missing)}"
        raise AuthorizationError(words, context=facts)


def _table(path: str, rows: Any) -> dict[str, frozenset[str]]:
    if rows is None:
        return {}
    if not isinstance(rows, Mapping) or not all(isinstance(name, str) and name for name in rows):
        raise _wrong(path, rows, "lists of scopes by name")
    for name in rows:
        if "/" in name:  # no name has one: the rule would protect nothing
            raise _wrong(path, name, 'names without "/": "place" in functions, or "shop" in groups, for shop/place')
    return {name: _scopes(f"{path}.{name}", scopes) for name, scopes in rows.items()}


def _scopes(path: str, scopes: Any) -> frozenset[str]:
    if isinstance(scopes, Iterable) and not isinstance(scopes, str | bytes | Mapping):
        given = list(scopes)
        if all(isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in given):
            return frozenset(given)
    raise _wrong(path, scopes, "a list of scopes: printable ASCII without spaces, quotation marks and backslashes")


def _wrong(path: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"{path} is {value!r}; expected: {allowed}", path=path, expected=allowed)
