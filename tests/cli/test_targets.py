"""What MODULE:TARGET may name, and the messages for what it may not."""

from __future__ import annotations

import pytest

from tests.support.command import run


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["served_things"], 2, "must be MODULE:TARGET, such as shop.orders:service, got served_things"),
        (["served_things:"], 2, "must be MODULE:TARGET"),
        ([":plain"], 2, "must be MODULE:TARGET"),
        (["no_such_things:plain"], 2, "cannot import no_such_things: ModuleNotFoundError"),
        (["broken_things:plain"], 2, "cannot import broken_things: ZeroDivisionError"),
        (["served_things:plan"], 2, "served_things has no plan; did you mean plain"),
        (["served_things:nothing"], 2, "served_things has no nothing"),
        (["served_things:plain.nothing"], 2, "served_things has no plain.nothing"),
        (["served_things:number"], 2, "served_things:number must be a function, a service or a portal, got int"),
        (["served_things:threading"], 2, "got module"),
        (["served_things:threading.Thread"], 2, "decorate the class with @service"),
        (
            ["served_things:Stock"],
            2,
            "served_things:Stock: service must be an instance, as Stock requires the argument database",
        ),
        (["served_things.py:plain"], 2, "must name a module, not a file; use served_things:plain"),
        (["./inner/things.py:plain"], 2, "use inner.things:plain"),
        (["ending_things:plain"], 2, "cannot import ending_things: SystemExit: 7"),
        (
            ["served_things:plain", "served_things:plain", "served_things:made"],
            3,
            "plain version 1 is published already",
        ),
        (
            ["served_things:plain", "--http", "8080"],
            2,
            "must be HOST:PORT, such as 127.0.0.1:8080, or unix:PATH, got",
        ),
        (["served_things:plain", "--http", "host:http"], 2, "got host:http"),
        (["served_things:plain", "--http", "host:65536"], 2, "got host:65536"),
        ([], 2, "Missing argument"),
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_wrong_targets_are_rejected(arguments, code, message):
    result = run("serve", "--http", "127.0.0.1:0", *arguments)
    assert message in result.stderr
    assert (result.exit_code, result.stdout) == (code, "")


@pytest.mark.usefixtures("here")
def test_documents_need_no_instance_of_a_service():
    for command, words in (("stub", "def level(self, sku: str) -> int:"), ("openapi", "/stock/level")):
        result = run(command, "served_things:Stock")
        assert (result.exit_code, words in result.stdout) == (0, True), result.output


@pytest.mark.usefixtures("here", "stopped")
def test_debug_shows_the_traceback_of_a_failed_import():
    result = run("serve", "broken_things:plain", "--debug")
    assert isinstance(result.exception, ZeroDivisionError)
