"""Functions as bytes for workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("cloudpickle", reason="the package distributed is not installed")

from portal import CallContext, ConfigError, function
from portal.cluster.packing import load_function, pack_function
from tests.support import cluster_functions as functions


def test_a_function_of_a_module_is_sent_by_name() -> None:
    digest, data = pack_function(functions.add)
    assert load_function(data) is functions.add
    assert len(digest) == 16
    assert len(data) < 1000


def test_another_name_and_version_are_kept() -> None:
    made = function(name="plus", version="2", idempotent=True)(functions.add.target)
    found = load_function(pack_function(made)[1])
    assert found.schema.fingerprint == made.schema.fingerprint
    assert found.schema.idempotent


def test_a_closure_is_sent_by_value() -> None:
    factor = 3

    @function(version="2", timeout=5.0)
    def scale(n: int) -> int:
        return n * factor

    found = load_function(pack_function(scale)[1])
    assert found.schema == scale.schema
    assert found.invoke({"n": 2}, CallContext()) == 6


def test_a_given_schema_is_kept() -> None:
    @function(input={"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]})
    def scale(n: int) -> int:
        return n

    assert load_function(pack_function(scale)[1]).schema.fingerprint == scale.schema.fingerprint


def test_what_cannot_be_sent_is_rejected() -> None:
    lock = threading.Lock()

    @function
    def locked() -> int:
        return int(lock.locked())

    with pytest.raises(ConfigError, match="cannot be sent to the workers"):
        pack_function(locked)

    @function
    def stream() -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigError, match="stream"):
        pack_function(stream)
