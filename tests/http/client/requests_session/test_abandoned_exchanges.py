from __future__ import annotations

import pytest

from portal import Address, OverloadedError
from portal.http.client.requests_session.abandoned_exchanges import AbandonedExchanges

ADDRESS = Address.parse("http://stock.example/api/count")


@pytest.mark.parametrize(("max_exchanges", "allowed"), [(1, 1), (2, 1), (5, 2), (64, 32)])
def test_requests_are_rejected_while_half_of_the_exchanges_are_abandoned(max_exchanges: int, allowed: int) -> None:
    abandoned = AbandonedExchanges(max_exchanges)
    for _ in range(allowed):
        abandoned.require_few(ADDRESS)
        abandoned.begin()
    with pytest.raises(OverloadedError, match=f"^{allowed} abandoned exchanges") as caught:
        abandoned.require_few(ADDRESS)
    assert (caught.value.retry_after, caught.value.may_have_executed) == (1.0, False)
    abandoned.end()
    abandoned.require_few(ADDRESS)


def test_those_that_have_ended_stay_in_the_total() -> None:
    abandoned = AbandonedExchanges(8)
    abandoned.begin()
    abandoned.begin()
    abandoned.end()
    assert abandoned.stats() == {"abandoned": 1, "abandoned_total": 2}
