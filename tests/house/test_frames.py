"""The Python frames of one HTTP call: a frame costs time in each call, and a reader has to follow each."""

from __future__ import annotations

from benchmarks.frames import client_frames, server_frames

MAX_SERVER_FRAMES = 13
MAX_CLIENT_FRAMES = 6
MAX_CLIENT_FRAMES_OF_FIRST_CALL = 10


def test_a_call_passes_few_frames_from_the_loop_to_the_function() -> None:
    first, later = server_frames()
    assert first[-1] == later[-1] == "function.callable:Function.invoke"
    assert len(first) <= MAX_SERVER_FRAMES, "in a worker"
    assert len(later) <= MAX_SERVER_FRAMES, "in the thread that reads"


def test_a_call_passes_few_frames_from_call_at_to_the_socket() -> None:
    first, later = client_frames()
    assert first[0] == later[0] == "consumer.consumer:Consumer.call_at"
    assert first[-1] == later[-1] == "http.client.connection:HTTPConnection.exchange"
    assert len(first) <= MAX_CLIENT_FRAMES_OF_FIRST_CALL
    assert len(later) <= MAX_CLIENT_FRAMES
