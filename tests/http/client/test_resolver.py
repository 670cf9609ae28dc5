"""HTTPResolver: which addresses and which client it takes."""

from __future__ import annotations

import pytest

from portal import AddressError, ConfigError
from portal.http import HTTPResolver


@pytest.mark.parametrize("method", ["resolve_function", "resolve_service", "list_at"])
def test_an_address_of_another_scheme_is_rejected(method: str) -> None:
    with pytest.raises(AddressError, match="local://add is not an HTTP address"):
        getattr(HTTPResolver(), method)("local://add")


def test_the_client_must_be_an_http_client() -> None:
    with pytest.raises(ConfigError, match="http must be an HTTPClient, got 'x'"):
        HTTPResolver("x")  # type: ignore[arg-type]
