"""Registration: a serving portal writes what it serves into a directory, and renews that until it stops."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import Any, Protocol

from .._internal.at_fork import renew_after_fork
from .._internal.background import BackgroundLoop
from .._internal.closing import run_all
from .._internal.conditions import Condition
from .._internal.log import get_logger
from .._internal.redis_client import StoreUnavailable
from .._internal.settings import number, positive_seconds, text
from .._internal.throttle import Throttle
from ..address import Address
from ..errors import ConfigError, OverloadedError
from ..portal import topology
from ..schema import FunctionSchema
from .instance import Instance
from .record import MAX_SIZE, Record, Served, encode
from .store import Store
from .urls import key_of, store_at

__all__ = ["Registered", "Registration", "registration_of"]

_log = get_logger("portal.directory")
_CHANGES = 0.5  # seconds between two looks for functions that were published or removed
_LOOK = 1.0  # seconds between two looks whether the store still has the record
_MARGIN = 100  # characters by which a record may grow when its time and its load change
_PAUSE = 0.01  # seconds between two looks of a thread that is about to end
_WILDCARDS = ("", "0.0.0.0", "[::]", "::")
_WARNING_INTERVAL = 60.0  # seconds between two warnings about the same outage


class Listening(Protocol):
    """The listener of a portal, as a registration sees it."""

    @property
    def host(self) -> str: ...


class Registered(Protocol):
    """A portal, as a registration sees it."""

    @property
    def base(self) -> Address: ...

    @property
    def listener(self) -> Listening: ...

    def stats(self) -> dict[str, Any]: ...

    def functions(self) -> Mapping[Address, FunctionSchema]: ...


class Registration:
    """Keeps the functions of one portal in a directory while the portal serves.

    A thread renews the record every third of the lease, and writes it anew after functions were published or removed.
    If the store has lost the record, or another process has written it, it is registered again with a new token, within
    about a second. If the store does not respond, the thread tries again, and the portal goes on serving.

    Args:
        store: where the records are kept: a URL (memory, sqlite, redis, rediss, unix, valkey, valkeys), or a store. The
            fragment of a Redis URL is the namespace.
        lease: seconds after which the record is dropped if the process dies.
        weight, zone: of the instances; see `Instance`.
        advertise: host and port that clients connect to, such as "10.0.0.7:8080". With None they are those of the
            portal's addresses, which must not be a wildcard such as 0.0.0.0.
        key: the shared key that signs the record; None leaves it unsigned.
        now: the time of signatures, as `time.time`.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Threads: any. Fork: a child is not registered; its own portal registers itself under another owner.
    """

    def __init__(
        self,
        store: Store | str,
        *,
        lease: float = 10.0,
        weight: float = 1.0,
        zone: str | None = None,
        advertise: str | None = None,
        key: str | bytes | None = None,
        now: Callable[[], float] = time,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store_at(store) if isinstance(store, str) else store
        self._lease = positive_seconds("directory.lease", lease)
        self._weight = number("directory.weight", weight, minimum=0)
        self._zone = text("directory.zone", zone, optional=True)
        self._advertise = text("directory.advertise", advertise, optional=True)
        self._key = key_of(key)
        self._now = now
        self._clock = clock
        self._loop = BackgroundLoop("portal-directory-lease", self._wait_and_renew)
        self._warnings = Throttle(_WARNING_INTERVAL)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without a record; called by `__init__`, and in a child process after a fork."""
        self._wake = Condition()  # guards the attributes below; held while the store is written
        self._owner = os.urandom(12).hex()
        self._portal: Registered | None = None
        self._record: Record | None = None
        self._token: int | None = None  # None also while it is not known what the store has
        self._is_written = False  # whether the store may have a record
        self._seen = -1  # `topology.version` of the record
        self._due = 0.0
        self._look_at = 0.0
        self._outage: str | None = None
        self._too_large: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the directory may not show what the portal serves, or None."""
        return self._outage or self._too_large

    def start(self, portal: Registered) -> None:
        """Register what a portal serves, and begin to renew it. The portal serves already.

        Raises: ConfigError if clients could not connect to the addresses, or if the portal has more functions than a
            record can hold. A store that does not respond is logged.
        """
        self._require_reachable(portal.listener.host)
        with self._wake:
            if self._portal is not None and self._portal is not portal:
                message = "a Registration is of one portal; make one for each"
                raise ConfigError(message, path="directory", expected="a Registration of its own")
            was_registered, self._portal = self._portal is portal, portal
        try:
            self.renew()
        except BaseException:
            if not was_registered:
                self.stop()
            raise
        self._go_on()

    def _start_loop(self) -> None:
        try:
            self._loop.start()
        except OverloadedError as error:
            _log.error("the registration is not renewed yet: %s", error)

    def _require_reachable(self, host: str) -> None:
        if self._advertise is None and (host in _WILDCARDS or host.startswith("unix:")):
            expected = f'set for a portal that listens on {host}: the host and port of clients, such as "10.0.0.7:8080"'
            raise ConfigError.invalid("directory.advertise", None, expected)

    def stop(self) -> None:
        """Withdraw the record, so that consumers stop calling. Does nothing without one. May be called twice."""
        run_all(self._withdraw, self._loop.stop, self._go_on)

    def _withdraw(self) -> None:
        with self._wake:
            self._portal, token, self._token = None, self._token, None
            self._record = self._outage = self._too_large = None
            self._wake.notify_all()
            if self._is_written:
                self._is_written = False
                try:
                    self._store.withdraw(self._owner, token)
                except StoreUnavailable as error:
                    _log.warning("the record is not withdrawn and ends with its lease: %s", error)

    def _go_on(self) -> None:
        """Start the thread unless the registration is stopped. Another thread may have started or stopped it."""
        with self._wake:
            if self._portal is not None:
                self._start_loop()

    def close(self) -> None:
        """Withdraw the record and close the connections of the store. May be called twice."""
        run_all(self.stop, self._store.close)

    def renew(self) -> None:
        """Write the record: a new one if it has changed or is gone, else a renewal. The thread calls this.

        Raises: ConfigError if the first record of the portal is too large. Later ones are logged instead.
        """
        with self._wake:
            if self._portal is None:
                return
            now = self._clock()
            self._due, self._look_at = now + min(_LOOK, self._lease / 3), now + _LOOK  # if a step below raises
            version = topology.version
            record = self._update(self._portal, version)
            load = float(self._portal.stats().get("running", 0))
            self._record, self._seen = record.renewed(self._now(), load), version
            try:
                self._write(encode(self._record, self._owner, self._key))
            except StoreUnavailable as error:
                self._due = self._clock() + min(_LOOK, self._lease / 3)
                self._note_outage(error)
                return
            self._due = now + self._lease / 3
            self._note_response()

    def _update(self, portal: Registered, version: int) -> Record:
        """Return the record of what the portal serves now."""
        record = self._record
        if record is not None and version == self._seen:
            return record
        functions = self._served(portal)
        if record is not None and functions == record.functions:
            self._too_large = None
            return record
        new = Record(functions, self._lease)
        size = len(encode(new, self._owner, self._key)) + _MARGIN
        if size > MAX_SIZE:
            return self._reject(len(functions), size)
        self._token = self._too_large = None
        return new

    def _reject(self, functions: int, size: int) -> Record:
        """Return the last record, as what is served now is too large for one. Raises: ConfigError without a record."""
        expected = f"at most {MAX_SIZE} characters, which consumers accept; split the functions between portals"
        error = ConfigError.invalid("directory.record", f"{size} characters for {functions} functions", expected)
        if self._record is None:
            try:
                raise error
            finally:
                del error  # else the exception and this frame refer to each other
        self._too_large = f"the last changes are not registered: {error}"
        _log.error("%s", self._too_large)
        return self._record

    def _note_outage(self, error: StoreUnavailable) -> None:
        self._outage = f"the directory does not respond, the registration is tried again: {error}"
        if self._warnings.allows(self._clock()):
            _log.warning("%s", self._outage)

    def _note_response(self) -> None:
        self._outage = None
        self._warnings.reset()

    def _write(self, record: str) -> None:
        if self._token is not None:
            if self._store.renew(self._owner, self._token, record, self._lease):
                return
            _log.warning("the record in the directory is gone: owner=%s token=%d", self._owner, self._token)
        self._token, self._is_written = None, True  # if this fails, the store may have it all the same
        self._token = self._store.register(self._owner, record, self._lease)

    def keep(self) -> None:
        """Renew the record if that is due, or register it again if it has changed or is gone.

        The thread calls this.
        """
        with self._wake:
            if self._portal is None:
                return
            if topology.version == self._seen and self._clock() < self._due and self._is_kept():
                return
            self.renew()

    def _is_kept(self) -> bool:
        """Return False if the store does not have the record any more. It is asked once in a while."""
        if self._clock() < self._look_at:
            return True
        self._look_at = self._clock() + _LOOK
        if self._token is None:  # the last registration failed, and is tried again soon
            return True
        try:
            is_kept = self._store.holds(self._owner, self._token)
        except StoreUnavailable as error:
            self._note_outage(error)
            return True
        self._note_response()
        return is_kept

    def _served(self, portal: Registered) -> tuple[Served, ...]:
        base = len(portal.base.segments)
        return tuple(
            Served("/".join(address.segments[base:-1]), self._instance(address, schema))
            for address, schema in portal.functions().items()
        )

    def _instance(self, address: Address, schema: FunctionSchema) -> Instance:
        if self._advertise is not None:
            address = Address.of(str(address).replace(address.authority, self._advertise, 1))
        return Instance(address, self._weight, zone=self._zone, version=schema.version, fingerprint=schema.fingerprint)

    def _wait_and_renew(self) -> None:
        with self._wake:
            if self._portal is None:  # `stop` has woken this thread, and is about to end it
                self._wake.wait(_PAUSE)
                return
            wait = min(_CHANGES, self._due - self._clock(), self._look_at - self._clock())
            self._wake.wait(max(0.0, wait))
        self.keep()


def registration_of(value: str | Registration | None) -> Registration | None:
    """Return a registration as it is, or one with default settings for a URL. Raises: ConfigError."""
    if value is None or isinstance(value, Registration):
        return value
    return Registration(value)
