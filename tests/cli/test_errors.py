"""Exit codes, and errors on stderr."""

from __future__ import annotations

import json

import pytest

from portal import errors
from portal.cli.errors import exit_code
from tests.support.command import run


@pytest.mark.parametrize("command", ["call", "describe", "list"])
@pytest.mark.parametrize(("address", "code"), [("nonsense", 3), ("local://nobody/here", 4)])
def test_each_command_rejects_a_bad_address(command, address, code):
    result = run(command, address)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize("command", ["call", "describe", "list"])
def test_each_command_reports_an_unreachable_server(command, dead):
    result = run(command, dead)
    assert result.exit_code == 5
    assert result.stderr.startswith("error: TransportError: ")


@pytest.mark.parametrize(
    "arguments",
    [["call", "ADDRESS", "--json"], ["describe", "ADDRESS", "--json"], ["list", "ADDRESS", "--json"]],
)
def test_errors_are_json_if_the_output_is(arguments, dead):
    result = run(*(dead if argument == "ADDRESS" else argument for argument in arguments))
    error = errors.PortalError.from_dict(json.loads(result.stderr))
    assert type(error) is errors.TransportError
    assert error.retryable


EXIT_CODES = {
    "AuthenticationError": 6,
    "AuthorizationError": 6,
    "AddressError": 3,
    "CallTimeout": 5,
    "CircuitOpenError": 5,
    "ConfigError": 2,
    "OverloadedError": 5,
    "RegistryError": 4,
    "TransportError": 5,
    "ValidationError": 3,
}


@pytest.mark.parametrize("name", [row[0] for row in errors.error_table()])
def test_the_exit_code_of_each_error(name):
    assert exit_code(getattr(errors, name)("failed")) == EXIT_CODES.get(name, 1)


def test_an_invalid_name_is_invalid_input():
    assert exit_code(errors.RegistryError("no name", kind="invalid")) == 3
