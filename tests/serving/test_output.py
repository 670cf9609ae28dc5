"""Output: what is sent at once, what waits for the client, and when a slow client is given up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.serving.output import MIN_RATE, Output

TIMEOUT = 2.0


class FakeClient:
    """A sink without a socket: each step says how many bytes the client takes.

    Args:
        takes: bytes taken by each send; after the last one, nothing is taken.
        waits: seconds after which the client can take more, for each wait.
    """

    def __init__(self, takes: list[int], waits: list[float] | None = None) -> None:
        self.takes = takes
        self.waits = waits or []
        self.gone: OSError | None = None
        self.received = b""
        self.now = 100.0
        self.patience: list[float] = []
        self.on_wait: Callable[[], object] = lambda: None

    def send_some(self, data: bytes | memoryview) -> int:
        if self.gone is not None:
            raise self.gone
        taken = min(self.takes.pop(0), len(data)) if self.takes else 0
        self.received += bytes(data[:taken])
        return taken

    def wait_writable(self, seconds: float) -> bool:
        self.patience.append(seconds)
        self.on_wait()
        needed = self.waits.pop(0) if self.waits else 0.0
        self.now += min(needed, seconds)
        return needed <= seconds

    def clock(self) -> float:
        return self.now


def output_to(client: FakeClient) -> Output:
    return Output(client, TIMEOUT, client.clock)


@pytest.mark.parametrize(
    ("takes", "waits"),
    [
        ([6], []),
        ([4, 2], [0.0]),
        ([0, 1, 0, 5], [1.9, 0.1, 0.0]),
        ([1, 1, 1, 1, 1, 1], [0.3] * 5),
    ],
    ids=["at once", "in two parts", "after a pause", "byte by byte"],
)
def test_write_sends_everything_to_a_client_that_reads(takes: list[int], waits: list[float]) -> None:
    client = FakeClient(takes, waits)
    output = output_to(client)
    output.write(b"abcdef")
    assert (client.received, output.sent, output.pending) == (b"abcdef", 6, 0)


def test_write_that_the_system_takes_at_once_does_not_wait() -> None:
    client = FakeClient([6])
    output_to(client).write(b"abcdef")
    assert client.patience == []


def test_what_the_client_has_not_taken_is_pending() -> None:
    client = FakeClient([2, 1, 3])
    output = output_to(client)
    seen: list[tuple[int, int]] = []
    client.on_wait = lambda: seen.append((output.sent, output.pending))
    output.write(b"abcdef")
    assert seen == [(2, 4), (3, 3)]


def test_a_client_that_reads_nothing_for_the_write_timeout_is_given_up() -> None:
    client = FakeClient([2], [TIMEOUT + 0.1])
    output = output_to(client)
    with pytest.raises(ConnectionAbortedError, match="reads the response too slowly"):
        output.write(b"abcdef")
    assert (client.received, output.sent, output.pending) == (b"ab", 2, 0)
    assert client.patience == [TIMEOUT]


def test_a_client_that_reads_a_byte_now_and_then_is_given_up() -> None:
    """Each wait is within the write timeout. The client is too slow all the same."""
    client = FakeClient([1] * 100, [TIMEOUT / 2] * 100)
    with pytest.raises(ConnectionAbortedError, match="reads the response too slowly"):
        output_to(client).write(b"x" * 1000)
    assert client.now - 100.0 == pytest.approx(TIMEOUT + 999 / MIN_RATE)


@pytest.mark.parametrize("seconds", [3, 30])
def test_a_long_response_may_take_as_long_as_the_least_rate_allows(seconds: int) -> None:
    step = MIN_RATE + 1
    client = FakeClient([step] * (seconds + 1), [1.0] * seconds)
    data = b"x" * (step * (seconds + 1))
    output_to(client).write(data)
    assert client.received == data
    assert client.now == 100.0 + seconds


@pytest.mark.parametrize("takes", [[], [2]], ids=["before the first byte", "after some bytes"])
def test_write_raises_if_the_client_is_gone(takes: list[int]) -> None:
    client = FakeClient(takes)
    output = output_to(client)

    def leave() -> None:
        client.gone = BrokenPipeError()

    client.on_wait = leave
    with pytest.raises(BrokenPipeError):
        output.write(b"abcdef")
    assert (output.sent, output.pending) == (sum(takes), 0) if takes else True


@pytest.mark.parametrize(
    ("takes", "sent_all", "received"), [([6], True, b"abcdef"), ([5], False, b"abcde"), ([0], False, b"")]
)
def test_write_now_reports_whether_all_was_sent(takes: list[int], sent_all: bool, received: bytes) -> None:
    client = FakeClient(takes)
    output = output_to(client)
    assert output.write_now(b"abcdef") is sent_all
    assert (client.received, output.sent) == (received, len(received))
    assert client.patience == []


def test_write_now_to_a_client_that_is_gone_sends_nothing() -> None:
    client = FakeClient([])
    client.gone = ConnectionResetError()
    output = output_to(client)
    assert output.write_now(b"abcdef") is False
    assert output.sent == 0
