"""`portal subscribe` and `portal publish`, and the other commands at ws:// addresses."""

from __future__ import annotations

import json

import pytest

from portal import Retain, WebSocketPortal
from portal.examples.orders import service
from tests.support.command import run


@pytest.fixture
def portal():
    with WebSocketPortal() as made:
        made.apply_service(service)
        made.topic("ticks", retain=Retain(events=3), snapshot=None)
        made.topic("chat", item=str, publish_scopes=())
        yield made


def topic(portal, name="ticks"):
    return next(one for one in portal.topics().values() if one.name == name)


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], '1\n{"a": "é"}\n'),
        (["--json"], '{{"data": 1, "epoch": "{0}", "offset": 2, "key": null}}\n'
         '{{"data": {{"a": "é"}}, "epoch": "{0}", "offset": 3, "key": "k"}}\n'),
    ],
)  # fmt: skip
def test_subscribe_prints_events(portal, options, printed):
    ticks = topic(portal)
    since = ticks.publish(0)
    ticks.publish(1)
    ticks.publish({"a": "é"}, key="k")
    position = f"{since.epoch}:{since.offset}"
    result = run("subscribe", str(ticks.address), "--count", "2", "--since", position, *options)
    expected = printed.format(since.epoch) if options else printed
    assert (result.stdout, result.stderr, result.exit_code) == (expected, "", 0)


def test_subscribe_tells_of_gaps(portal):
    ticks = topic(portal)
    since = ticks.publish(0)
    for number in range(1, 6):
        ticks.publish(number)
    position = f"{since.epoch}:{since.offset}"
    result = run("subscribe", str(ticks.address), "--count", "1", "--since", position)
    assert (result.stdout, result.stderr) == ("3\n", "gap: 2 events are missing (trimmed)\n")
    result = run("subscribe", str(ticks.address), "--count", "1", "--since", position, "--json")
    assert json.loads(result.stdout.splitlines()[0]) == {"gap": 2, "reason": "trimmed"}
    result = run("subscribe", str(ticks.address), "--count", "1", "--since", "0:1")
    assert result.stderr == "gap: an unknown number of events are missing (epoch)\n"


def test_publish_prints_the_position(portal):
    chat = topic(portal, "chat")
    result = run("publish", str(chat.address), '"hello"', "--key", "k")
    epoch = chat.position.epoch
    assert (result.stdout, result.exit_code) == (f"{epoch}:1\n", 0)
    result = run("publish", str(chat.address), "-", stdin='"again"')
    assert result.stdout == f"{epoch}:2\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["subscribe", "{base}/nothing"], 4, "there is no topic nothing"),
        (["subscribe", "{base}/ticks", "--since", "x"], 2, "must be EPOCH:OFFSET"),
        (["subscribe", "{base}/ticks", "--params", "[1]"], 2, "--params"),
        (["subscribe", "{base}/ticks", "--params", '{{"a": 1}}'], 3, "has no parameters"),
        (["subscribe", "http://127.0.0.1:1/x"], 4, "has no topics"),
        (["publish", "{base}/ticks", "1"], 6, "clients may not publish"),
        (["publish", "{base}/chat", "5"], 3, "ValidationError"),
        (["publish", "{base}/chat", "{{"], 2, "not valid JSON"),
    ],
)
def test_errors_have_their_exit_codes(portal, arguments, code, message):
    result = run(*(one.format(base=portal.base) for one in arguments))
    assert message in result.stderr
    assert result.exit_code == code


def test_call_and_describe_work_at_ws_addresses(portal):
    assert run("call", f"{portal.base}/orders/add", "a=1", "b=2").stdout == "3.0\n"
    assert "orders/add" in run("list", str(portal.base)).stdout


def test_list_shows_the_topics(portal):
    base = topic(portal).address.base
    lines = run("list", base).stdout.splitlines()
    assert [line.split() for line in lines[-2:]] == [[f"{base}/ws/ticks", "(topic)"], [f"{base}/ws/chat", "(topic)"]]


@pytest.mark.parametrize("command", ["describe", "call"])
def test_a_topic_is_not_a_function(portal, command):
    address = str(topic(portal).address)
    result = run(command, address)
    assert result.exit_code == 4
    assert f"there is a topic at {address}, not a function" in result.stderr


def test_a_misspelt_topic_is_told(portal):
    result = run("subscribe", f"{topic(portal).address}s")
    assert result.exit_code == 4
    assert "there is no topic tickss; did you mean ticks?" in result.stderr
