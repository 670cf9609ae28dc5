"""The outcomes of calls on a cluster, as results and errors."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tblib", reason="the package distributed is not installed")

from portal import AuthorizationError, CallTimeout, FunctionError, RegistryError
from portal.cluster.causes import pack_error
from portal.cluster.outcomes import result_of
from portal.errors import TransportError
from tests.support.cluster_functions import add


@pytest.mark.parametrize(
    ("outcome", "kind", "may"),
    [
        (("late", None), CallTimeout, False),
        (("absent", "ImportError: x"), RegistryError, False),
        (("error", pack_error(AuthorizationError("no", delivery="executed"))), AuthorizationError, True),
        (("error", pack_error(LookupError("no"))), FunctionError, True),
    ],
)
def test_outcomes(outcome: Any, kind: type[Exception], may: bool) -> None:
    assert result_of(add, ("ok", 5), "r1") == 5
    with pytest.raises(kind) as caught:
        result_of(add, outcome, "r1")
    assert caught.value.may_have_executed is may  # type: ignore[attr-defined]
    assert caught.value.request_id == "r1"  # type: ignore[attr-defined]


def test_an_error_of_a_chunk_is_one_of_each_call() -> None:
    cause = OSError("gone")
    error = TransportError("the worker has died", context={"request_id": "chunk"}, cause=cause)
    for request_id in ("r1", "r2"):
        with pytest.raises(TransportError, match="has died") as caught:
            result_of(add, ("failed", error), request_id)
        assert caught.value.request_id == request_id
        assert caught.value.__cause__ is cause
    assert error.request_id == "chunk"
