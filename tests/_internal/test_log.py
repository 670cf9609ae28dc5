"""A log line that cannot be written does not break the code that logs."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest

from portal._internal.log import SafeLogger, _silent, get_logger


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


@pytest.fixture
def lonely() -> Iterator[logging.Logger]:
    """A logger without handlers and without a parent."""
    made = logging.Logger("portal.tests.lonely")
    _silent.discard(made.name)
    yield made
    _silent.discard(made.name)


class ListHandler(logging.Handler):
    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def disable(logger: logging.Logger) -> None:
    logger.addHandler(ListHandler())
    logger.disabled = True  # as `logging.config.dictConfig` does


def silence(logger: logging.Logger) -> None:
    logger.addHandler(ListHandler())
    logger.setLevel(logging.CRITICAL)


WAYS = [
    disable,
    silence,
    lambda logger: logger.addHandler(logging.NullHandler()),
    lambda logger: logger.addHandler(ListHandler(logging.CRITICAL)),
]


@pytest.mark.parametrize("hide", WAYS)
def test_an_error_that_no_handler_gets_is_one_line_on_stderr(
    lonely: logging.Logger, hide: Callable[[logging.Logger], None], capsys: pytest.CaptureFixture[str]
) -> None:
    hide(lonely)
    log_in_every_way(SafeLogger(lonely))
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"the logger {lonely.name} has no handler" in printed
    assert "disable_existing_loggers=False" in printed
    assert printed.endswith("not logged: error 4\n")


def test_the_line_has_the_exception_on_one_line(lonely: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    disable(lonely)
    log = SafeLogger(lonely)
    try:
        raise LookupError("no\nuser \x1b[2J" + "x" * 9_999)
    except LookupError as error:
        log.error("first", exc_info=error)
        log.exception("second")
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert r"not logged: first: LookupError: no\nuser \x1b[2Jxxx" in printed
    assert len(printed) < 800


def test_the_line_comes_again_after_errors_were_logged(
    lonely: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    disable(lonely)
    log = SafeLogger(lonely)
    log.error("one")
    lonely.disabled = False
    log.error("two")
    lonely.disabled = True
    log.error("three")
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == ["one", "three"]


def test_errors_that_are_logged_print_nothing(lonely: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    handler = ListHandler(logging.ERROR)
    lonely.addHandler(handler)
    SafeLogger(lonely).error("kept")
    lonely.handlers.clear()
    lonely.addHandler(ListHandler(logging.CRITICAL))
    lonely.disabled = True
    SafeLogger(lonely).warning("not an error")
    assert handler.lines == ["kept"]
    assert capsys.readouterr().err == ""


def test_a_stderr_that_is_closed_is_ignored(lonely: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    disable(lonely)
    stream = io.StringIO()
    stream.close()
    for one in (None, stream):
        _silent.discard(lonely.name)
        monkeypatch.setattr("sys.stderr", one)
        log_in_every_way(SafeLogger(lonely))
