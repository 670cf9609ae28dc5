"""RequireScopes: require scopes for calls."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .._internal.settings import require
from ..calls.middleware import Call, CallNext
from ..errors import AuthenticationError, AuthorizationError

__all__ = ["RequireScopes"]

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3


class RequireScopes:
    """Middleware of the server that rejects a call unless its identity has all scopes that the call requires.

        RequireScopes("portal", functions={"refund": ["orders:write"]}, groups={"billing": ["billing"]})

    A call requires the scopes of all calls, those of its function, and those of the group or service it was called in.
    If no scope is required, the call passes, with or without an identity.

    Args:
        scopes: scopes that every call requires.
        functions: scopes by name of a function, in any service.
        groups: scopes by name of a group or service.

    Attributes:
        named: the names in `functions` and `groups`. At its first request a portal logs the names that it has not
            published, because a typo would silently disable the rule.

    Raises: ConfigError for a wrong setting. A call raises AuthenticationError without an identity, and
        AuthorizationError with the missing scopes in `context["missing_scopes"]`.

    Threads: any.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

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
        """Check the scopes and pass the call on. Raises: AuthenticationError, AuthorizationError."""
        required = self.required(call)
        if required:
            _check(call, required)
        return call_next(call)

    def required(self, call: Call) -> frozenset[str]:
        """Return the scopes that a call requires."""
        required = self._all
        if self._functions:
            required |= self._functions.get(call.function.schema.name, frozenset())
        if self._groups:
            required |= self._groups.get(call.group, frozenset())
        return required


def _check(call: Call, required: frozenset[str]) -> None:
    identity = call.context.identity
    facts: dict[str, Any] = {"request_id": call.context.request_id, "operation": call.function.name}
    if identity is None:
        raise AuthenticationError(f"{call.function.name} requires a credential", context=facts)
    missing = sorted(required - identity.scopes)
    if missing:
        facts["missing_scopes"] = missing
        words = f"{call.function.name} requires {'scope' if len(missing) == 1 else 'scopes'} {', '.join(missing)}"
        raise AuthorizationError(words, context=facts)


def _table(path: str, rows: Mapping[str, Iterable[str]] | None) -> dict[str, frozenset[str]]:
    if rows is None:
        return {}
    named = isinstance(rows, Mapping) and all(isinstance(name, str) and name for name in rows)
    require(named, path, rows, 'lists of scopes by name, such as {"refund": ["orders"]}', optional=True)
    for name in rows:  # a name with "/" matches no function, so the rule would have no effect
        expected = 'names without "/": for shop/place "place" in functions, or "shop" in groups'
        require("/" not in name, path, name, expected)
    return {name: _scopes(f"{path}.{name}", scopes) for name, scopes in rows.items()}


def _scopes(path: str, scopes: Iterable[str]) -> frozenset[str]:
    several = isinstance(scopes, Iterable) and not isinstance(scopes, str | bytes | Mapping)
    given = list(scopes) if several else []
    ok = several and all(isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in given)
    expected = "a list of scopes: printable ASCII characters without spaces, quotation marks and backslashes"
    require(ok, path, scopes, expected)
    return frozenset(given)
