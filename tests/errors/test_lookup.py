from __future__ import annotations

import pytest

from portal import AddressError, PortalError, RegistryError


def test_an_address_error_has_the_reason_and_the_position() -> None:
    error = PortalError.from_dict(AddressError("'x' is not an address", reason="no scheme", position=0).to_dict())
    assert isinstance(error, AddressError)
    assert (error.reason, error.position) == ("no scheme", 0)
    assert str(AddressError(reason="no scheme")) == "no scheme"


@pytest.mark.parametrize("kind", ["conflict", "not_found", "invalid"])
def test_a_registry_error_has_the_name_and_the_kind(kind: str) -> None:
    error = PortalError.from_dict(RegistryError("no", name="add", kind=kind).to_dict())
    assert isinstance(error, RegistryError)
    assert (error.name, error.kind, error.status) == ("add", kind, 404)
    assert RegistryError("no").kind == "not_found"
