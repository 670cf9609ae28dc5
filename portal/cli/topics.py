"""`portal subscribe` and `portal publish`: print the events of a topic, and publish one."""

from __future__ import annotations

import sys
from typing import Any

import click

from .calls.call import parse_json, parse_object
from .connect import client_options, connected
from .errors import reported
from .inputs import read_input
from .output import echo, echo_json

__all__ = ["publish", "subscribe"]

_SUBSCRIBE_EXAMPLES = """\b
Examples:
  portal subscribe ws://127.0.0.1:8080/ws/ticks
  portal subscribe ws://127.0.0.1:8080/ws/ticks --params '{"symbol": "EURUSD"}' --count 10
  portal subscribe ws://127.0.0.1:8080/ws/ticks --since 3f2a9c51b7d0:1042
"""
_PUBLISH_EXAMPLES = """\b
Examples:
  portal publish ws://127.0.0.1:8080/ws/chat '"hello"'
  portal publish ws://127.0.0.1:8080/ws/ticks '{"symbol": "EURUSD", "price": 1.08}' --key EURUSD
"""


@click.command(epilog=_SUBSCRIBE_EXAMPLES)
@click.argument("address")
@click.option("--params", "text", metavar="OBJECT", help="Parameters of the subscription, as one JSON object.")
@click.option("--since", metavar="EPOCH:OFFSET", help="Go on after this event, as --json prints it.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time limit for the server to confirm the subscription.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print each event with its epoch, offset and key, not its data alone."
)
@client_options
def subscribe(
    address: str,
    text: str | None,
    since: str | None,
    count: int | None,
    timeout: float | None,
    as_json: bool,
    **client: Any,
) -> None:
    """Print the events of the topic at ADDRESS, one line of JSON for each.

    The command connects again when the connection is lost, and goes on after the last event. Events that it missed are
    told on stderr, and with --json in a line of their own.
    """
    params = None if text is None else parse_object(read_input(text, "--params"), "--params")
    position = None if since is None else _position(since)
    with (
        reported(as_json),
        connected(address, **client) as consumer,
        consumer.subscribe(address, params, since=position, timeout=timeout) as subscription,
    ):
        left = count
        for item in subscription:
            if _print(item, as_json) and left is not None:
                left -= 1
                if left == 0:
                    return


def _print(item: Any, as_json: bool) -> bool:
    """Print an event or a gap, and flush, as the next one may be long in coming. Return whether it was an event."""
    from ..websocket import Gap

    is_event = not isinstance(item, Gap)
    if not is_event:
        row = {"gap": item.count, "reason": item.reason}
        if not as_json:
            missed = "an unknown number of" if item.count is None else str(item.count)
            echo(f"gap: {missed} events are missing ({item.reason})", err=True)
    elif as_json:
        row = {"data": item.data, "epoch": item.epoch, "offset": item.offset, "key": item.key}
    else:
        row = item.data
    if is_event or as_json:
        echo_json(row)
        sys.stdout.flush()
    return is_event


def _position(text: str) -> tuple[str, int]:
    epoch, colon, offset = text.rpartition(":")
    if not colon or not epoch or not offset.isascii() or not offset.isdigit():
        raise click.BadParameter(f"must be EPOCH:OFFSET, such as 3f2a9c51b7d0:1042, got {text}", param_hint="--since")
    return epoch, int(offset)


@click.command(epilog=_PUBLISH_EXAMPLES)
@click.argument("address")
@click.argument("data", metavar="JSON")
@click.option("--key", metavar="KEY", help="What the event is about.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Time limit of the whole command."
)
@client_options
def publish(address: str, data: str, key: str | None, timeout: float | None, **client: Any) -> None:
    """Publish JSON to the topic at ADDRESS, and print the epoch and the offset of the event.

    JSON is read from stdin if it is -, and from a file if it is @FILE. The server decides which clients may publish.
    """
    value = parse_json(read_input(data, "JSON"), "JSON")
    with reported(False), connected(address, timeout, **client) as consumer:
        position = consumer.publish(address, value, key=key)
    if position is not None:
        echo(f"{position[0]}:{position[1]}")
