"""Functions and classes that workers cannot import, sent by value."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import marshmallow
import pytest

pytest.importorskip("cloudpickle", reason="the package distributed is not installed")

from portal import CallContext, Service, function, service
from portal.cluster.by_value import is_sent_by_value, load_by_value, pickle_by_value
from portal.cluster.packing import load_function, pack_function
from tests.support.dask_cluster import cluster_of, quiet

pytestmark = quiet
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "cluster_script.py"


def test_a_script_publishes_what_it_defines() -> None:
    """Its dataclasses, enums, named tuples, TypedDicts and services are parameters and results on a worker."""
    with cluster_of(1) as cluster:
        command = [sys.executable, str(SCRIPT), cluster.scheduler_address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300.0, check=False)
    assert done.returncode == 0, done.stderr
    grown, painted, moved, row, unpacked, product, packed = json.loads(done.stdout)
    blue = {"name": "blue", "weight": 1.0, "tags": []}
    item = {"part": blue, "color": "red", "parts": [], "after": None}
    assert grown == {**item, "part": {**blue, "name": "blue!"}, "after": item}
    assert painted == ["blue", 3]
    assert moved == {"x": 2, "y": 5}
    assert row == {"color": "blue"}
    assert (unpacked, product) == (5, 120)
    assert packed == {**blue, "name": "pblue", "weight": 6.0}


@pytest.mark.parametrize(
    "marker", [dataclasses.MISSING, dataclasses.KW_ONLY, marshmallow.missing, dataclasses._HAS_DEFAULT_FACTORY]
)
def test_markers_stay_the_same_objects(marker: Any) -> None:
    assert load_by_value(pickle_by_value([marker]))[0] is marker


def local_class() -> Any:
    @dataclasses.dataclass
    class Local:
        name: str
        tags: list[str] = dataclasses.field(default_factory=list)

    return Local


def test_a_class_is_copied_once_and_not_changed() -> None:
    kind = local_class()
    before = dict(vars(kind))
    copy = load_by_value(pickle_by_value(kind))
    assert copy is not kind
    assert copy("x") == copy("x", [])
    assert load_by_value(pickle_by_value(kind)) is copy
    assert load_by_value(pickle_by_value(copy)) is copy
    assert all(vars(kind)[name] is value for name, value in before.items())


def test_what_workers_cannot_import() -> None:
    assert is_sent_by_value("__main__")
    assert not is_sent_by_value(__name__)


def test_a_module_that_was_registered_with_cloudpickle() -> None:
    import cloudpickle

    from tests.support import cluster_functions

    cloudpickle.register_pickle_by_value(cluster_functions)
    try:
        assert is_sent_by_value("tests.support.cluster_functions")
        assert not is_sent_by_value("tests.support.cluster_functions_of_others")
        found = load_function(pack_function(cluster_functions.square)[1])
    finally:
        cloudpickle.unregister_pickle_by_value(cluster_functions)
    assert found is not cluster_functions.square
    assert found.invoke({"n": 3}, CallContext()) == 9


@dataclasses.dataclass
class Part:
    name: str


@service
class Packer:
    @function
    def pack(self, part: Part) -> Part:
        assert isinstance(part, Part)
        return Part(f"{part.name}!")


def test_a_method_gets_native_values() -> None:
    member = Service.of(Packer()).functions["pack"]
    assert load_function(pack_function(member)[1]).invoke({"part": {"name": "x"}}, CallContext()) == {"name": "x!"}


def test_given_schemas_convert_as_they_do_here() -> None:
    fields = {"day": marshmallow.fields.Date(required=True), "note": marshmallow.fields.String(load_default="none")}

    @function(input=fields, output={"day": marshmallow.fields.Date()})
    def shift(day: Any, note: str) -> Any:
        assert note == "none"
        return {"day": day.replace(day=2)}

    found = load_function(pack_function(shift)[1])
    for made in (shift, found):
        assert made.invoke({"day": "2026-01-01"}, CallContext()) == {"day": "2026-01-02"}
