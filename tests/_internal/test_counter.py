from __future__ import annotations

import threading

from portal._internal.counter import Counter


def test_reads_do_not_count() -> None:
    counter = Counter()
    assert [counter.value, counter.value] == [0, 0]
    for _ in range(3):
        counter.add()
    assert [counter.value, counter.value] == [3, 3]
    counter.add()
    assert counter.value == 4


def test_no_addition_of_eight_threads_is_lost() -> None:
    counter, start = Counter(), threading.Barrier(8)

    def work() -> None:
        start.wait(10)
        for number in range(5_000):
            counter.add()
            if number % 500 == 0:
                assert counter.value > 0

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counter.value == 40_000
