from __future__ import annotations

import pytest

from portal import PortalError
from portal.http.documents.problem_examples import problem_example

STATUSES = [400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", STATUSES)
def test_an_example_is_a_problem_of_its_status(status: int) -> None:
    example = problem_example(status)
    assert example["status"] == status
    assert example["detail"]
    error = PortalError.from_dict(example)
    assert (error.code, error.status) == (example["code"], status)


def test_examples_have_different_texts() -> None:
    assert len({problem_example(status)["detail"] for status in STATUSES}) == len(STATUSES)


def test_a_status_that_no_call_returns_has_no_example() -> None:
    with pytest.raises(KeyError):
        problem_example(418)
