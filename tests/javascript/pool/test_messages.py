from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.javascript.pool.messages import MessageReader, pack, read_message


def reader(data: bytes, piece: int) -> Callable[[int], bytes]:
    left = [data]

    def receive(length: int) -> bytes:
        taken, left[0] = left[0][: min(length, piece)], left[0][min(length, piece) :]
        return taken

    return receive


@pytest.mark.parametrize("piece", [1, 3, 7, 10_000])
@pytest.mark.parametrize("body", ["", "x", "é\ud800\x00" * 100])
def test_a_message_arrives_in_pieces(piece: int, body: str) -> None:
    receive = reader(pack(["ok", 1], body) + pack(["next"]), piece)
    assert read_message(receive) == (["ok", 1], body)
    assert read_message(receive) == (["next"], "")
    messages = MessageReader(reader(pack(["ok", 1], body) + pack(["next"]), piece))
    assert [messages.read(), messages.read()] == [(["ok", 1], body), (["next"], "")]


def test_a_small_message_takes_one_call_and_a_long_one_few() -> None:
    lengths: list[int] = []
    receive = reader(pack(["ok"], "x") + pack(["ok"], "y" * 3_000_000), 10_000_000)

    def counted(length: int) -> bytes:
        lengths.append(length)
        return receive(length)

    messages = MessageReader(counted)
    assert messages.read() == (["ok"], "x")
    assert len(lengths) == 1
    assert messages.read() == (["ok"], "y" * 3_000_000)
    assert len(lengths) < 6


def test_the_end_and_a_message_that_is_too_long() -> None:
    with pytest.raises(EOFError):
        read_message(reader(pack(["ok"], "abc")[:-1], 100))
    with pytest.raises(EOFError):
        read_message(reader(b"", 100))
    with pytest.raises(ValueError, match="at most 2 bytes"):
        MessageReader(reader(pack(["ok"], "abc"), 100)).read(2)
    with pytest.raises(ValueError, match="at most"):
        MessageReader(reader(b"\xff" * 8, 100)).read()
