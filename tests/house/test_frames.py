"""The Python frames of one HTTP call: a frame costs time in each call, and a reader has to follow each."""

from __future__ import annotations

from benchmarks.frames import server_frames

MAX_SERVER_FRAMES = 13


def test_a_call_passes_few_frames_from_the_loop_to_the_function() -> None:
    first, later = server_frames()
    assert first[-1] == later[-1] == "function.callable:Function.invoke"
    assert len(first) <= MAX_SERVER_FRAMES, "in a worker"
    assert len(later) <= MAX_SERVER_FRAMES, "in the thread that reads"
