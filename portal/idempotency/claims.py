"""End the claim of a call, whatever fails on the way. A claim that stays held blocks its key for ever."""

from __future__ import annotations

from collections.abc import Callable

from .._internal.log import get_logger
from .._internal.redis_client import StoreUnavailable
from .outcomes import NOT_MADE
from .store import Claim, OutcomeStore

__all__ = ["end_left", "settle"]

_log = get_logger("portal.calls")


def settle(store: OutcomeStore, claim: Claim, make_text: Callable[[], str | None]) -> None:
    """End a claim: record the text of its outcome, or drop the claim if there is none.

    If the text cannot be made or kept, the fact of the call is kept, so that it does not run again. An error is logged,
    and the caller of the call gets its own outcome.

    Args:
        make_text: returns the text of the outcome, or None if the next call may run.

    Raises: only what is not an Exception, such as KeyboardInterrupt, after the claim has ended.
    """
    try:
        text = make_text()
    except BaseException as error:
        _end(store, claim, NOT_MADE)
        if not isinstance(error, Exception):
            raise
        _log_not_kept(error, claim)
    else:
        _end(store, claim, text)


def end_left(store: OutcomeStore, claim: Claim, *, runs: bool) -> None:
    """End a claim if an exception has come before `settle`, or interrupted it. Otherwise this does nothing.

    Args:
        runs: whether the call may have run.
    """
    if store.holds(claim):
        _end_without_text(store, claim, NOT_MADE if runs else None)


def _end(store: OutcomeStore, claim: Claim, text: str | None) -> None:
    try:
        _record_or_drop(store, claim, text)
    except StoreUnavailable:
        return  # the claim ends with its lease
    except BaseException as error:
        _end_without_text(store, claim, None if text is None else NOT_MADE)
        if not isinstance(error, Exception):
            raise
        _log_not_kept(error, claim)


def _end_without_text(store: OutcomeStore, claim: Claim, text: str | None) -> None:
    """Try again to end a claim. If not even the fact of the call can be kept, drop the claim."""
    for last in (text, None):
        if not store.holds(claim):
            return
        try:
            _record_or_drop(store, claim, last)
        except StoreUnavailable:
            return
        except Exception:
            _log.exception("idempotency: the end of a call was not recorded: key=%s", claim.key)
        else:
            return


def _record_or_drop(store: OutcomeStore, claim: Claim, text: str | None) -> None:
    if text is None:
        store.drop(claim)
    else:
        store.record(claim, text)


def _log_not_kept(error: Exception, claim: Claim) -> None:
    _log.error("idempotency: a response is not kept: key=%s", claim.key, exc_info=error)
