"""A log line that cannot be written does not break the code that logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from portal._internal.log import SafeLogger, get_logger


class FailingHandler(logging.Handler):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.calls = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.calls += 1
        raise self.error


class FailingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise LookupError("no such tenant")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("portal.tests.log")
    yield found
    found.handlers.clear()
    found.filters.clear()


def log_in_every_way(log: SafeLogger) -> None:
    log.debug("debug %s", 1)
    log.info("info %s", 2)
    log.warning("warning %s", 3)
    log.error("error %s", 4)
    log.log(logging.ERROR, "at a level %s", 5)
    try:
        raise ValueError("kept")
    except ValueError:
        log.exception("exception %s", 6)


@pytest.mark.parametrize("error", [RuntimeError("full"), MemoryError(), OSError(28, "No space left"), RecursionError()])
def test_a_handler_that_raises_is_ignored(logger: logging.Logger, error: Exception) -> None:
    handler = FailingHandler(error)
    logger.addHandler(handler)
    log_in_every_way(get_logger(logger.name))
    assert handler.calls == 4  # the root logger's level is WARNING


def test_a_filter_that_raises_is_ignored(logger: logging.Logger) -> None:
    logger.addFilter(FailingFilter())
    log_in_every_way(get_logger(logger.name))


def test_wrong_arguments_are_ignored(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log = get_logger(logger.name)
    logger.addHandler(FailingHandler(TypeError("not all arguments converted")))
    log.warning("two %s %s", 1)


def test_records_name_the_caller_and_keep_the_exception(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        log_in_every_way(get_logger("portal.tests.log"))
    assert [record.getMessage() for record in caplog.records] == [
        "debug 1",
        "info 2",
        "warning 3",
        "error 4",
        "at a level 5",
        "exception 6",
    ]
    assert {record.funcName for record in caplog.records} == {"log_in_every_way"}
    assert caplog.records[-1].exc_info is not None
    assert isinstance(caplog.records[-1].exc_info[1], ValueError)


def test_an_exception_that_is_not_an_error_is_raised(logger: logging.Logger) -> None:
    """Ctrl-C during a log call still stops the program."""

    class Interrupting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    logger.addHandler(Interrupting())
    with pytest.raises(KeyboardInterrupt):
        get_logger(logger.name).warning("stopped")
