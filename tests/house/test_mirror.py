"""Each module has its test module at the same path: portal/http/portal.py has tests/http/test_portal.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_rooms import MODULES

TESTS = Path(__file__).parents[1]
#: Folders of tests that concern several modules.
SHARED = {"scenarios", "behaviour", "house", "long", "fuzz", "conformance", "docs", "support", "checkers"}
#: The modules without a test module of their own, by the test module that covers them. A module that gets one leaves
#: this dict. A new module is not added: it comes with its test module.
COVERED_BY: dict[str, set[str]] = {
    # One engine: its parts have no use apart from each other.
    "serving/test_listener.py": {
        "serving.loop.acceptor",
        "serving.connections.connection",
    },
    "serving/io/test_tls.py": {"serving.loop.handshake"},
    # What a hint becomes: each kind of hint is a row of the same tables of values.
    "schema/hints/test_mapper.py": {
        "schema.codecs.mappings",
        "schema.codecs.codec",
        "schema.codecs.containers",
        "schema.codecs.records",
        "schema.codecs.unions",
    },
    # Steps of one request, seen from a client.
    "http/test_portal.py": {
        "http.client.client",
        "http.server.app",
        "http.server.deadline_responder",
        "http.server.function_calls",
        "http.server.negotiation",
    },
    "network/test_error_mapping.py": {"http.client.urllib3_transport"},
    "http/documents/test_openapi.py": {"http.documents.openapi_parts"},
}
EXCEPTIONS = set().union(*COVERED_BY.values())


def mirror_of(name: str) -> Path:
    """Return the path of the test module of a module."""
    *folders, module = name.split(".")
    return TESTS.joinpath(*folders, f"test_{module}.py")


#: An `__init__` hands on names of other modules, and `python -m portal` is the command; neither needs its own tests.
MIRRORS = {name: mirror_of(name) for name, path in MODULES.items() if path.name != "__init__.py" and name != "__main__"}


@pytest.mark.parametrize("name", sorted(MIRRORS))
def test_a_module_has_its_test_module(name: str) -> None:
    there = MIRRORS[name].exists()
    path = MIRRORS[name].relative_to(TESTS.parent)
    assert there or name in EXCEPTIONS, f"write {path}"
    assert not (there and name in EXCEPTIONS), f"{path} exists: remove {name} from COVERED_BY"


def test_a_test_module_mirrors_a_module_or_is_in_a_shared_folder() -> None:
    known = {*MIRRORS.values(), TESTS / "test_init.py"}
    stray = [
        str(path.relative_to(TESTS))
        for path in sorted(TESTS.rglob("test_*.py"))
        if path not in known and path.relative_to(TESTS).parts[0] not in SHARED
    ]
    assert stray == []


def test_the_exceptions_exist() -> None:
    assert sorted(EXCEPTIONS - MIRRORS.keys()) == []
    assert [path for path in COVERED_BY if not (TESTS / path).exists()] == []
    assert sum(map(len, COVERED_BY.values())) == len(EXCEPTIONS)
