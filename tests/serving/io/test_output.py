"""Output: what is sent at once, what is kept for the client, and when a stream has to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from portal.serving.bounds.budget import ByteBudget
from portal.serving.bounds.slow_reader import NOTHING_READ, TOO_LONG, SlowReader
from portal.serving.io.output import Output

TIMEOUT = 2.0
LIMIT = 1000


class FakeClient:
    """A sink without a socket.

    Args:
        takes: bytes taken by each send; after the last one, nothing is taken.
    """

    def __init__(self, *takes: int) -> None:
        self.takes = list(takes)
        self.gone: OSError | None = None
        self.received = b""
        self.now = 100.0
        self.unacknowledged = 0
        self.pending: list[bool] = []
        self.budget = ByteBudget(5 * LIMIT)
        reader = SlowReader(TIMEOUT, 0)
        self.output = Output(self, reader, self.budget, LIMIT, self.pending.append, lambda: self.now)

    def count_unacknowledged(self) -> int:
        return self.unacknowledged

    def send_some(self, data: bytes | memoryview) -> int:
        if self.gone is not None:
            raise self.gone
        taken = min(self.takes.pop(0), len(data)) if self.takes else 0
        self.received += bytes(data[:taken])
        return taken


def test_what_the_system_takes_at_once_is_sent_without_a_copy_or_a_report() -> None:
    client = FakeClient(6)
    assert client.output.write(b"abcdef")
    assert (client.received, client.output.sent, client.output.pending, client.pending) == (b"abcdef", 6, 0, [])


@pytest.mark.parametrize("step", [1, 2, 4, 6])
def test_everything_arrives_in_order(step: int) -> None:
    client = FakeClient(step, 0)
    client.output.write(b"abc")
    client.output.write(b"def")
    for _ in range(6):
        client.takes = [step, 0]
        assert client.output.flush()
    assert (client.received, client.output.sent, client.output.pending) == (b"abcdef", 6, 0)
    assert client.budget.used == client.output.held == 0


def test_what_the_client_does_not_take_is_kept_and_the_writer_does_not_wait() -> None:
    client = FakeClient(2, 0, 1)
    client.output.write(b"abcdef")
    assert (client.output.sent, client.output.pending, client.pending) == (2, 4, [True])
    client.output.flush()
    assert (client.output.sent, client.output.pending, client.pending) == (3, 3, [True])
    client.takes = [3]
    client.output.flush()
    assert (client.output.sent, client.output.pending, client.pending) == (6, 0, [True, False])


def test_the_memory_of_a_part_is_counted_until_all_of_it_is_sent() -> None:
    client = FakeClient(50, 0)
    client.output.write(b"x" * 100)
    assert client.budget.used >= 100
    client.takes = [49]
    client.output.flush()
    assert client.budget.used >= 100
    client.takes = [1]
    client.output.flush()
    assert client.budget.used == 0


def test_small_parts_count_what_they_cost() -> None:
    """A stream of bytes one by one must not take many times the memory that its limit says."""
    client = FakeClient()
    for _ in range(4):
        client.output.write(b"x")
    assert client.output.held > LIMIT


def test_a_writer_learns_that_the_budget_is_exceeded() -> None:
    client = FakeClient()
    assert client.output.write(b"x" * 4 * LIMIT)
    assert not client.output.write(b"x" * LIMIT)


def test_a_client_that_reads_nothing_is_complained_about_at_the_write_timeout() -> None:
    client = FakeClient(2)
    client.output.write(b"abcdef")
    client.now += TIMEOUT - 0.1
    assert client.output.complaint() is None
    client.now += 0.1
    assert client.output.complaint() == NOTHING_READ


def test_a_whole_message_has_a_timeout_of_its_own() -> None:
    client = FakeClient(2)
    client.output.write(b"x" * 100, 10.0)
    for _ in range(9):
        client.now += 1.0
        client.takes = [1, 0]
        client.output.flush()
        assert client.output.complaint() is None
    client.now += 1.0
    client.takes = [1, 0]
    client.output.flush()
    assert client.output.complaint() == TOO_LONG


def test_a_client_that_reads_what_the_system_holds_is_not_complained_about() -> None:
    """The system takes more only once much of its own buffer is free."""
    client = FakeClient(1000)
    client.unacknowledged = 1000
    client.output.write(b"x" * 2000)
    for _ in range(10):
        client.now += TIMEOUT - 0.1
        client.unacknowledged -= 100
        assert client.output.complaint() is None
    client.now += TIMEOUT
    assert client.output.complaint() == NOTHING_READ


def test_there_is_no_complaint_once_everything_is_sent() -> None:
    client = FakeClient(0, 6)
    client.output.write(b"abcdef", 1.0)
    client.output.flush()
    client.now += 100.0
    assert client.output.complaint() is None


def test_a_stream_waits_until_its_client_has_read() -> None:
    client = FakeClient()
    client.output.write(b"x" * 2 * LIMIT)
    passed = threading.Event()

    def wait() -> None:
        client.output.wait_for_room()
        passed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not passed.wait(0.05)
    client.takes = [2 * LIMIT]
    client.output.flush()
    thread.join(10)
    assert passed.is_set()


def test_a_stream_with_room_does_not_wait() -> None:
    client = FakeClient()
    client.output.write(b"x" * 100)
    client.output.wait_for_room()
    assert client.output.pending == 100


def test_a_stream_whose_client_reads_nothing_ends_at_the_write_timeout() -> None:
    client = FakeClient()
    client.output.write(b"x" * 2 * LIMIT)
    client.now += TIMEOUT
    with pytest.raises(ConnectionAbortedError, match="read nothing"):
        client.output.wait_for_room()
    assert client.budget.used == 0


def test_an_abort_ends_the_wait_of_a_stream() -> None:
    client = FakeClient()
    client.output.write(b"x" * 2 * LIMIT)
    raised: list[OSError] = []

    def wait() -> None:
        try:
            client.output.wait_for_room()
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client.output.discard()
    thread.join(10)
    assert [type(error) for error in raised] == [ConnectionAbortedError]


def test_after_an_abort_nothing_is_kept() -> None:
    client = FakeClient()
    client.output.write(b"abcdef")
    client.output.discard()
    assert (client.output.pending, client.budget.used, client.pending) == (0, 0, [True, False])
    assert not client.output.flush()
    with pytest.raises(ConnectionAbortedError):
        client.output.write(b"more")
    assert client.budget.used == 0


@pytest.mark.parametrize("use", [lambda output: output.write(b"more"), lambda output: output.write_now(b"more")])
def test_what_is_written_later_does_not_overtake(use: Callable[[Output], object]) -> None:
    client = FakeClient(2)
    client.output.write(b"abcdef")
    client.takes = [100]
    use(client.output)
    assert client.received == b"ab"


def test_write_raises_if_the_client_is_gone() -> None:
    client = FakeClient(2)
    client.gone = BrokenPipeError()
    with pytest.raises(BrokenPipeError):
        client.output.write(b"abcdef")
    assert client.budget.used == 0


def test_a_client_that_goes_while_output_waits_frees_its_memory() -> None:
    client = FakeClient(2)
    client.output.write(b"abcdef")
    client.gone = BrokenPipeError()
    assert not client.output.flush()
    assert (client.output.pending, client.budget.used) == (0, 0)


@pytest.mark.parametrize("later", [False, True], ids=["at once", "after the rest"])
def test_a_callback_follows_the_last_byte(later: bool) -> None:
    client = FakeClient(0 if later else 6)
    seen: list[bytes] = []
    client.output.write(b"abcdef")
    client.output.when_sent(lambda: seen.append(client.received))
    client.takes = [6]
    client.output.flush()
    assert seen == [b"abcdef"]


@pytest.mark.parametrize(
    ("takes", "sent_all", "received"), [([6], True, b"abcdef"), ([5], False, b"abcde"), ([0], False, b"")]
)
def test_write_now_reports_whether_all_was_sent(takes: list[int], sent_all: bool, received: bytes) -> None:
    client = FakeClient(*takes)
    assert client.output.write_now(b"abcdef") is sent_all
    assert (client.received, client.output.sent, client.output.pending) == (received, len(received), 0)


def test_write_now_to_a_client_that_is_gone_sends_nothing() -> None:
    client = FakeClient()
    client.gone = ConnectionResetError()
    assert client.output.write_now(b"abcdef") is False
    assert client.output.sent == 0


def test_nothing_is_written_after_the_last_part() -> None:
    client = FakeClient(2, 0)
    client.output.write(b"abcd")
    client.output.write(b"efgh")
    assert client.output.replace(b"bye")
    with pytest.raises(ConnectionAbortedError):
        client.output.write(b"late")
    assert not client.output.write_now(b"late")
    client.takes = [10, 10]
    client.output.flush()
    assert client.received == b"abcdbye"
    with pytest.raises(ConnectionAbortedError):
        client.output.write(b"late")


def test_gathered_parts_are_sent_together() -> None:
    client = FakeClient(100)
    assert client.output.gather(b"abc")
    assert client.output.gather(b"def")
    assert (client.received, client.output.pending, client.pending) == (b"", 6, [True])
    client.output.flush()
    assert (client.received, client.takes, client.pending) == (b"abcdef", [], [True, False])
    assert client.budget.used == client.output.held == 0


@pytest.mark.parametrize("send", ["write", "write_now"])
def test_what_was_gathered_goes_before_what_is_sent_now(send: str) -> None:
    client = FakeClient(100, 100)
    client.output.gather(b"abc")
    assert getattr(client.output, send)(b"def")
    assert (client.received, client.output.pending, client.pending) == (b"abcdef", 0, [True, False])


def test_an_empty_write_sends_what_was_gathered() -> None:
    client = FakeClient(100)
    client.output.gather(b"abc")
    assert client.output.write(b"")
    assert (client.received, client.takes) == (b"abc", [])


def test_large_output_is_not_gathered() -> None:
    client = FakeClient(100_000)
    assert not client.output.gather(b"x" * 20_000)
    assert client.output.gather(b"x" * 10_000)
    assert not client.output.gather(b"x" * 10_000)
    assert client.output.pending == 10_000


def test_gathered_parts_of_a_client_that_takes_little() -> None:
    client = FakeClient(2, 0)
    client.output.write(b"abcd")
    assert client.output.gather(b"ef")
    client.takes = [1, 100, 100, 100]
    client.output.flush()
    assert client.output.gather(b"gh")
    client.output.flush()
    assert (client.received, client.output.pending) == (b"abcdefgh", 0)
    assert client.budget.used == client.output.held == 0


def test_nothing_is_gathered_after_the_end() -> None:
    client = FakeClient(0)
    client.output.gather(b"abc")
    client.output.discard()
    assert (client.output.pending, client.output.held, client.pending) == (0, 0, [True, False])
    with pytest.raises(ConnectionAbortedError):
        client.output.gather(b"late")


def test_the_last_part_takes_the_place_of_what_was_gathered() -> None:
    client = FakeClient(100)
    client.output.gather(b"abc")
    assert client.output.replace(b"bye")
    with pytest.raises(ConnectionAbortedError):
        client.output.gather(b"late")
    client.output.flush()
    assert client.received == b"bye"
    assert client.budget.used == client.output.held == 0


def test_a_client_that_takes_nothing_is_not_asked_at_each_write() -> None:
    client = FakeClient(0, 7)
    client.output.write(b"abc")
    client.output.write(b"def")
    assert client.takes == [7]


@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_parts_arrive_in_order_however_they_are_sent(step: int) -> None:
    client = FakeClient()
    expected = b""
    for number in range(40):
        piece = b"%d," % number * (1 + number % 3 * 1000)
        if number % 5 == 0 or not client.output.gather(piece):
            client.takes = [step * 97]
            client.output.write(piece)
        expected += piece
    while client.output.pending:
        client.takes = [step * 997]
        assert client.output.flush()
    assert client.received == expected
    assert client.budget.used == client.output.held == 0
