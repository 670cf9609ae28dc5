"""A chat: one topic that everybody may publish to.

    python -m portal.examples.chat serve
    python -m portal.examples.chat join ws://127.0.0.1:8080/ws/chat ann

Each line that is typed is published. Someone who joins gets the last 50 messages first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import time

from portal import Consumer, WebSocketPortal
from portal.websocket import Event, Subscription

__all__ = ["Message", "chat_portal", "join", "main"]

_HISTORY = 50


@dataclass
class Message:
    """One message of the chat."""

    who: str
    text: str
    at: float


def chat_portal(host: str = "127.0.0.1", port: int = 0) -> WebSocketPortal:
    """Return a portal with the topic `chat` and the function `history`."""
    portal = WebSocketPortal(host, port, title="Chat")
    messages: list[Message] = []
    portal.topic("chat", item=Message, publish_scopes=(), description="What everybody says.")

    def history() -> list[Message]:
        """Return the last messages."""
        return messages[-_HISTORY:]

    def say(who: str, text: str) -> int:
        """Publish a message. Return its number."""
        message = Message(who, text, time())
        messages.append(message)
        del messages[:-_HISTORY]
        (topic,) = portal.topics().values()
        return topic.publish(message).offset

    portal.apply(history)
    portal.apply(say)
    return portal


def join(consumer: Consumer, address: str, show: Callable[[str], object]) -> Subscription[Message]:
    """Show the messages so far and each new one; return the subscription."""

    def take(item: object) -> None:
        if isinstance(item, Event):
            show(f"{item.data.who}: {item.data.text}")
        else:
            show("(some messages are missing)")

    base = address.rpartition("/")[0]
    for message in consumer.call_at(f"{base}/history", returns=list[Message]):
        show(f"{message.who}: {message.text}")
    return consumer.subscribe(address, returns=Message, callback=take)


def main(arguments: list[str], lines: Iterable[str] = sys.stdin) -> int:
    """Serve the chat, or join it."""
    if arguments[:1] == ["serve"]:
        with chat_portal(port=8080) as portal:
            print(f"{portal.base}/chat", flush=True)
            for _ in lines:
                continue
        return 0
    if len(arguments) != 3 or arguments[0] != "join":
        print(__doc__)
        return 2
    _, address, who = arguments
    with Consumer() as consumer, join(consumer, address, print):
        base = address.rpartition("/")[0]
        for line in lines:
            consumer.call_at(f"{base}/say", {"who": who, "text": line.rstrip("\n")})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
