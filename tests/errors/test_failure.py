"""Exceptions of user code that are outcomes of a call."""

from __future__ import annotations

import threading

import pytest

from portal.errors.failure import function_error, is_failure


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_an_exception_for_the_process_is_a_failure_outside_the_main_thread(error: BaseException) -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_failure(error)))
    thread.start()
    thread.join(10)
    assert (found, is_failure(error)) == ([True], False)
    assert is_failure(ValueError())


def test_the_text_of_an_exception_is_private() -> None:
    error = function_error(KeyError("secret"))
    assert (error.type, error.message, error.private) == ("KeyError", "KeyError: 'secret'", True)
    assert "secret" not in error.message_for_client(debug=False)
