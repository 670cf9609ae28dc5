"""Jobs: what is sent, and errors of jobs that did not end."""

from __future__ import annotations

import pickle
import sys
import threading

import pytest

from portal import CallContext, SerializationError
from portal.processes.jobs import Job, cancelled_job, late_job, pack, unpack

JOB = Job("add", max, (1, 2))


def test_a_job_is_packed_with_its_script_only_if_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    main, inner = pickle.loads(pack(JOB))
    assert main is None
    assert pickle.loads(inner) == (max, (1, 2))
    assert pickle.loads(pack(JOB._replace(needs_main=True)))[0] is not None


def test_arguments_that_cannot_be_pickled() -> None:
    with pytest.raises(SerializationError, match="the arguments of add"):
        pack(JOB._replace(arguments=(threading.Lock(),)))


def test_a_reply_that_cannot_be_read() -> None:
    assert unpack(pickle.dumps(("ok", 1))) == ("ok", 1)
    assert unpack(b"x")[0] == "broken"


def test_errors_say_whether_the_job_may_have_run() -> None:
    context = CallContext(request_id="r1")
    for error, may in (
        (late_job(JOB, context), False),
        (late_job(JOB, context, started="it runs on"), True),
        (cancelled_job(context, started=False), False),
        (cancelled_job(context, started=True), True),
    ):
        assert error.may_have_executed is may
        assert error.request_id == "r1"
    assert str(late_job(JOB, context, started="it runs on")) == "add did not respond in time; it runs on"
