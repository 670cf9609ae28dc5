"""A wrong value of a setting gives the same ConfigError in every public constructor.

Constructors and settings are derived from the public packages and the signatures. A new public class either passes here
or is listed, with its reason, in NOT_SETTINGS.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import pkgutil
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import portal
from portal import Certificate, ConfigError, LocalPortal, RegistryError
from portal.errors import shorten

Constructor = Callable[..., Any]

_NAN, _INFINITY = float("nan"), float("inf")
_WRONG: tuple[Any, ...] = (True, _NAN, _INFINITY, -1, "x", None)

#: Public names whose parameters are not settings.
NOT_SETTINGS = {
    # values that calls, requests and documents consist of
    "File",
    *("Address", "AddressBuilder", "CallContext", "CallRecord", "Fault", "Function", "FunctionSchema", "Identity"),
    *("Offset", "Capabilities", "Parameters", "Program", "RecordedCall", "Request", "Response", "Schema"),
    # constraints in type hints, which the mapping of the hint checks
    *("Description", "Example", "Ge", "Gt", "Le", "Lt", "MaxLen", "MinLen", "MultipleOf", "Pattern", "Unique"),
    # parts that only the library constructs
    *("Candidate", "Explanation"),
    *("SignatureAuth", "host"),
    *("Channel", "ConnectionState", "Event", "Gap", "Mock", "ResolvedFunction", "ServiceMock", "Subscription"),
    # the base class of portals, which is abstract
    "Portal",
    # functions of values
    *("any_of", "approx", "check_name", "error_table", "hash_password", "having", "is_failure", "is_json", "matching"),
    *("identity_of", "mount", "needs_body", "shorten", "to_builtins", "where"),
    # types, and what clients that are written consist of
    *("Client", "JSONValue", "ServiceProxy", "declared_error", "register_type"),
}
#: Constructors without a setting that is a number, a flag or text; their own tests cover the others.
OTHER_PARAMETERS = {
    "Invalidation",  # a row of data
    "PeakEWMA",
    "RoundRobin",
    "BearerToken",
    "ByAuthority",
    "Catalogue",
    "CertificateAuth",
    *("DjangoSession", "FlaskSession"),
    "Entry",
    "Fallback",
    "HTTPResolver",
    "Observe",
    "PolicyState",
    "PolledDirectory",
    "PortalRegistry",
    "RequireScopes",
    "Sandbox",
    "WebSocketResolver",
    "When",
    "set_validation_limits",
}
#: Arguments that a constructor requires, or that make it read the setting.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ApiKey": {"key": "k"},
    "ApiKeyAuth": {"keys": {"k": "ann"}},
    "AuthFailureLimit": {"rate": "1/s"},
    "BasicAuth": {"users": {"ann": "password"}},
    "BasicCredential": {"user": "ann", "password": "password"},
    "BearerAuth": {"tokens": {"token": "ann"}},
    "CORS": {"origins": "*"},
    "ConsistentHash": {"key": str},
    "Certificate": {"chain": "chain.pem"},
    "DaskPortal": {"scheduler": "127.0.0.1:8786"},
    "FaultProxy": {"target": 1},
    "open_directory": {"url": "memory://x"},
    "Topic": {"name": "ticks"},
    "FuelQuota": {"fuel": 1000},
    "Grant": {"address": "local://add"},
    "Instance": {"address": "local://add"},
    "JSFunction": {"code": "() => 1", "name": "one"},
    "JWTAuth": {"algorithms": ["RS256"], "jwks_url": "https://issuer.example/keys"},
    "Latency": {"duration": 1.0},
    "OAuth2ClientCredentials": {"token_url": "https://issuer.example/", "client_id": "a", "client_secret": "b"},
    "Observe": {"on_call": print},
    "RateLimit": {"rate": "1/s"},
    "RecordingPortal": {"portal": LocalPortal()},
    "RequestLog": {"target": logging.getLogger("portal")},
    "Rewrite": {"change": bytes},
    "ProbeLeases": {"store": "redis://127.0.0.1:6379/0", "namespace": "shop"},
    "SharedInvalidations": {"store": "redis://127.0.0.1:6379/0", "namespace": "shop"},
    "Registration": {"store": "memory://x"},
    "JSService": {"name": "shop"},
    "Service": {"name": "shop"},
    "SlowBytes": {"interval": 1.0},
    "TLSConfig": {"certificate": Certificate("chain.pem")},
    "When": {"middleware": print},
    "recording": {"target": LocalPortal()},
    "verify_signature": {"secret": "long enough", "scheme": "github"},
}
#: What a setting of each type must be, as the error says it.
EXPECTED = {
    "int": r"a whole number( of bytes| of seconds)?( .*)?",
    "float": r"(a number|seconds) (above|below|from|of) .*",
    "bool": "True or False",
    "text": r".+",
}
#: Settings whose error names another setting, because the two belong together.
ERROR_PATHS = {
    ("open_directory", "url"): "directory",
    ("BasicCredential", "user"): "credentials.basic",
    ("BasicCredential", "password"): "credentials.basic",
}
#: Numbers that may be negative.
NUMBERS_BELOW_ZERO = {("Chaos", "seed"), ("FaultProxy", "seed"), ("TestingPortal", "seed")}
#: A path of URLs, with the name that other constructors give to the path of a file.
URL_PATHS = {("WebSocketPortal", "path")}
#: Names and versions of functions, services and topics: RegistryError, kind "invalid", as in any look-up.
NAMES = {
    *(("JSService", "name"), ("Service", "name"), ("service", "name"), ("function", "name"), ("function", "version")),
    *(("JSFunction", "name"), ("JSFunction", "version"), ("Topic", "name")),
}


_TYPES = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "text",
    "FilePath": "text",
    "ByteCount": "int",
    "str | os.PathLike[str]": "text",
}


class Setting(NamedTuple):
    constructor: str
    name: str
    kind: str
    optional: bool

    def __str__(self) -> str:
        return f"{self.constructor}({self.name}=)"


@functools.cache
def constructors() -> dict[str, Constructor]:
    """Return the public classes and functions by name."""
    packages = [
        f"portal.{one.name}" for one in pkgutil.iter_modules(portal.__path__) if one.ispkg and one.name[0] != "_"
    ]
    found: dict[str, Constructor] = {}
    for package in ["portal", *packages]:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            member = getattr(module, name)
            is_class = inspect.isclass(member) and not issubclass(member, BaseException)
            if (is_class or inspect.isfunction(member)) and not getattr(member, "_is_protocol", False):
                found[name] = member
    return found


def settings_of(name: str, constructor: Constructor) -> Iterator[Setting]:
    """Yield the settings of a constructor that are numbers, flags or text, by its annotations."""
    signatures = [inspect.signature(one) for one in typing.get_overloads(constructor)] or [
        inspect.signature(constructor)
    ]
    for parameter in signatures[-1].parameters.values():
        annotation = str(parameter.annotation)
        kind = _TYPES.get(annotation.removesuffix(" | None"))
        if kind is not None and parameter.kind is not parameter.VAR_POSITIONAL:
            yield Setting(name, parameter.name, kind, annotation.endswith(" | None"))


def all_settings() -> list[Setting]:
    named = [(name, one) for name, one in constructors().items() if name not in NOT_SETTINGS]
    return [setting for name, one in named for setting in settings_of(name, one)]


def wrong_values(setting: Setting) -> list[Any]:
    values = [value for value in _WRONG if not (value is None and setting.optional)]
    if setting.kind == "text":
        return [value for value in values if not isinstance(value, str)]
    if setting.kind == "bool":
        return [value for value in values if not isinstance(value, bool)]
    return [
        value for value in values if not ((setting.constructor, setting.name) in NUMBERS_BELOW_ZERO and value == -1)
    ]


def _nothing() -> None:
    """Do nothing."""


def construct(setting: Setting, value: object) -> None:
    arguments = {**ARGUMENTS.get(setting.constructor, {}), setting.name: value}
    made = constructors()[setting.constructor](**arguments)
    if setting.constructor == "function":  # a decorator
        made(_nothing)
    elif setting.constructor == "recording":
        made.__enter__()


@pytest.mark.parametrize("setting", all_settings(), ids=str)
def test_wrong_values_are_rejected_alike(setting: Setting) -> None:
    expected = set()
    for value in wrong_values(setting):
        with pytest.raises((ConfigError, RegistryError)) as caught:
            construct(setting, value)
        error = caught.value
        if (setting.constructor, setting.name) in NAMES:
            assert isinstance(error, RegistryError)
            assert error.kind == "invalid"
            continue
        assert isinstance(error, ConfigError)
        default = f".{setting.name}"
        assert error.path.endswith(ERROR_PATHS.get((setting.constructor, setting.name), default)), error.path
        given = f", got {error.value}" if error.value else ""
        assert error.message == f"{error.path} must be {error.expected}{given}"
        assert error.value in ("", shorten(value))
        expected.add(error.expected)
    if (setting.constructor, setting.name) not in NAMES:
        assert len(expected) == 1, expected
        words = expected.pop().removesuffix(", or None")
        assert re.fullmatch(EXPECTED[setting.kind], words), words


def test_settings_of_the_same_kind_expect_the_same() -> None:
    """A host, a path, a count or a rate has one wording in all constructors."""
    by_name: dict[str, set[str]] = {}
    for setting in all_settings():
        named = setting.name in ("host", "path", "max_entries", "timeout", "key_prefix", "realm", "rate")
        if named and (setting.constructor, setting.name) not in URL_PATHS:
            with pytest.raises(ConfigError) as caught:
                construct(setting, _NAN)
            by_name.setdefault(f"{setting.kind} {setting.name}", set()).add(caught.value.expected)
    by_name["float timeout"] = {words.removesuffix(", or None") for words in by_name["float timeout"]}
    assert {name: words for name, words in by_name.items() if len(words) > 1} == {}
    assert len(by_name) >= 6


def test_each_public_name_is_known() -> None:
    """A class whose settings cannot be derived, and a name that does not exist any more, are found."""
    known = {setting.constructor for setting in all_settings()} | NOT_SETTINGS
    without = {name for name in constructors() if name not in known}
    assert {name for name in without if inspect.signature(constructors()[name]).parameters} <= OTHER_PARAMETERS
    assert (NOT_SETTINGS | OTHER_PARAMETERS | set(ARGUMENTS)) - set(constructors()) == set()


def test_a_wrong_annotation_is_not_overlooked() -> None:
    """The kinds of the settings are found by their annotations."""
    kinds = {(one.constructor, one.name): (one.kind, one.optional) for one in all_settings()}
    assert kinds["Consumer", "timeout"] == ("float", True)
    assert kinds["HTTPPortal", "port"] == ("int", False)
    assert kinds["Recorder", "path"] == ("text", False)
    assert kinds["function", "timeout"] == ("float", True)
    assert len(kinds) > 100
