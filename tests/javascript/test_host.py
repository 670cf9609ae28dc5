from __future__ import annotations

import json
import logging

import pytest

from portal import CallContext
from portal.javascript import EngineError
from portal.javascript.host import CallHost


def test_a_line_of_the_console_is_logged_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    host = CallHost("discount", CallContext(request_id="r-1"))
    with caplog.at_level(logging.DEBUG, "portal.javascript.console"):
        for level in ("debug", "log", "warn", "error"):
            assert host("log", json.dumps([level, "%s hi"])) == "null"
    assert [record.levelname for record in caplog.records] == ["DEBUG", "INFO", "WARNING", "ERROR"]
    assert {record.getMessage() for record in caplog.records} == {"discount: request_id=r-1: %s hi"}


@pytest.mark.parametrize("kind", ["call", "get", "file", ""])
def test_nothing_else_is_granted(kind: str) -> None:
    with pytest.raises(EngineError) as caught:
        CallHost("f", CallContext())(kind, "{}")
    assert caught.value.stage == "host"
