"""ProcessorTime: which requests keep a processor busy."""

from __future__ import annotations

from portal.serving.loop.processor_time import BUSY, ProcessorTime

PATH = ("POST", "/api/report")


def test_of_an_unknown_path_nothing_is_known() -> None:
    assert ProcessorTime().is_busy("ann", PATH) is None


def test_a_path_is_judged_by_what_is_supposed_until_a_request_has_ended() -> None:
    times = ProcessorTime()
    times.suppose(PATH, 2 * BUSY)
    assert times.is_busy("ann", PATH) is True
    times.note("ann", PATH, BUSY / 10)
    assert times.is_busy("ann", PATH) is False
    assert times.is_busy("bob", PATH) is False


def test_the_first_request_of_a_client_counts_as_the_others_of_the_path() -> None:
    times = ProcessorTime()
    times.note("ann", PATH, 10 * BUSY)
    assert times.is_busy("ann", PATH)
    assert times.is_busy("bob", PATH)
    assert not times.is_busy("bob", ("POST", "/api/add"))


def test_a_client_that_sends_little_is_not_taken_for_the_others() -> None:
    times = ProcessorTime()
    times.note("bob", PATH, BUSY / 10)
    for _ in range(20):
        times.note("ann", PATH, 10 * BUSY)
    assert times.is_busy("ann", PATH)
    assert not times.is_busy("bob", PATH)


def test_one_pause_of_the_interpreter_does_not_make_a_request_long() -> None:
    times = ProcessorTime()
    times.note("ann", PATH, BUSY / 10)
    times.note("ann", PATH, 1000 * BUSY)
    assert not times.is_busy("ann", PATH)
    for _ in range(20):
        times.note("ann", PATH, 1000 * BUSY)
    assert times.is_busy("ann", PATH)


def test_a_request_that_becomes_short_is_found_soon() -> None:
    times = ProcessorTime()
    times.note("ann", PATH, 1000 * BUSY)
    for _ in range(30):
        times.note("ann", PATH, BUSY / 10)
    assert not times.is_busy("ann", PATH)


def test_the_number_of_averages_is_bounded() -> None:
    times = ProcessorTime(max_keys=10)
    for number in range(100):
        times.suppose(("POST", f"/{number}"), BUSY)
    assert len(times._supposed) <= 10
    for number in range(100):
        times.note(f"client {number}", ("POST", f"/{number}"), BUSY)
    assert len(times._of_clients) <= 10
    assert len(times._of_paths) <= 10


def test_a_path_in_use_is_not_forgotten_for_many_others() -> None:
    times = ProcessorTime(max_keys=10)
    for number in range(100):
        times.note("ann", PATH, 2 * BUSY)
        times.note("bob", ("POST", f"/{number}"), BUSY / 2)
        assert times.is_busy("ann", PATH) is True
        assert times.is_busy("cid", PATH) is True
