from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clocks import Clock
from tests.support.tokens import Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
