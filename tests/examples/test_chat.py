"""The chat: two people, and one who joins later."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest

from portal import Consumer
from portal.examples import chat

WAIT = 20.0


class Screen:
    """Shows lines, and waits for them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for(self, number: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.lines) >= number, WAIT), self.lines
            return self.lines


@pytest.fixture
def address() -> Iterator[str]:
    with chat.chat_portal() as portal:
        yield f"{portal.base}/chat"


def test_everybody_sees_what_is_said(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    ann = Screen()
    with Consumer() as consumer, chat.join(consumer, address, ann):
        assert chat.main(["join", address, "bob"], io.StringIO("hello\nhow are you?\n")) == 0
        assert ann.wait_for(2) == ["bob: hello", "bob: how are you?"]
        late = Screen()
        with Consumer() as another, chat.join(another, address, late):
            assert late.lines == ["bob: hello", "bob: how are you?"]


def test_wrong_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.main(["join"]) == 2
    assert "python -m portal.examples.chat" in capsys.readouterr().out
