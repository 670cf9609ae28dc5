"""The classes of constraints."""

from __future__ import annotations

import pytest

from portal.schema import constraints


@pytest.mark.parametrize("name", [name for name in constraints.__all__ if name[0].isupper()])
def test_a_constraint_is_an_immutable_value(name: str) -> None:
    kind = getattr(constraints, name)
    values = [1] * len(kind.__match_args__)
    assert kind(*values) == kind(*values)
    assert hash(kind(*values)) == hash(kind(*values))
    with pytest.raises((AttributeError, TypeError)):
        kind(*values).other = 1
