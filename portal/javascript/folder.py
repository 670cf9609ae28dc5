"""RulesFolder: the JavaScript functions of a folder, which follow the edits of its files."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic

from .._internal.background import BackgroundLoop
from .._internal.conditions import Event
from .._internal.log import get_logger
from .._internal.settings import file_path, positive_seconds
from .._internal.throttle import Throttle
from ..address import Address
from ..errors import ConfigError, PortalError, RegistryError
from ..portal import Portal
from .function import JSFunction
from .portal import JavaScriptPortal

__all__ = ["RulesFolder"]

_log = get_logger("portal.javascript")
_SUFFIXES = (".js", ".mjs")
_WARNING_INTERVAL = 60.0  # seconds between two warnings about the same outage


class RulesFolder:
    """Publish each `.js` and `.mjs` file of a folder as a function, and follow edits.

    A changed file replaces the code of its function; if it cannot be loaded, the old code stays and the reason is
    logged. The schema stays as well; a warning says that the file now declares another one. A new file publishes a
    function and a file that is gone withdraws it. While the folder cannot be read, its functions stay.

    Args:
        path: the folder.
        javascript: runs the functions; closed with the folder.
        portals: publish the functions as well, such as an HTTPPortal.
        interval: seconds between two looks at the folder.

    Raises: ConfigError if there is no such folder.

    Threads: any. `start` starts a thread, which `close` ends.
    """

    def __init__(
        self,
        path: str | Path,
        javascript: JavaScriptPortal,
        *,
        portals: Iterable[Portal] = (),
        interval: float = 0.5,
    ) -> None:
        self._path = Path(file_path("javascript.path", path))
        if not self._path.is_dir():
            raise ConfigError.invalid("javascript.path", str(path), "a folder")
        self._javascript = javascript
        self._portals = (javascript, *portals)
        self._interval = positive_seconds("javascript.interval", interval)
        self._seen: dict[str, tuple[Path, str]] = {}  # file and code by function
        self._published: dict[str, list[tuple[Portal, Address]]] = {}
        self._looking = threading.Lock()  # held while one thread looks at the folder; guards the attributes above
        self._stopped = Event()
        self._warnings = Throttle(_WARNING_INTERVAL)
        self._loop = BackgroundLoop("portal-javascript-folder", self._follow)

    def start(self) -> None:
        """Publish the functions and follow edits from now on.

        Raises: PortalError for a file that cannot be published.
        """
        with self._looking:
            for name, (file, code) in self._read().items():
                self._add(name, file, code)
        self._javascript.start()
        self._loop.start()

    def refresh(self) -> None:
        """Look at the folder now; a file that cannot be loaded is logged."""
        with self._looking:
            self._refresh()

    def _refresh(self) -> None:
        try:
            found = self._read()
        except OSError as error:  # for example, somebody replaces the folder
            if self._warnings.allows(monotonic()):
                _log.error("the folder cannot be read, and its functions stay: %s", error)
            return
        for name in [name for name in self._seen if name not in found]:
            self._remove(name)
        for name, (file, code) in found.items():
            if self._seen.get(name) == (file, code):
                continue
            try:
                if name in self._published:
                    self._javascript.replace(name, code)
                    self._warn_of_schema(name, file, code)
                else:
                    self._add(name, file, code)
                _log.info("loaded %s", file)
            except PortalError as error:
                _log.error("%s was not loaded: %s", file, error)
            # After an error of the code it is tried again when it has changed. Any other error leaves it unseen.
            self._seen[name] = (file, code)

    def _read(self) -> dict[str, tuple[Path, str]]:
        found = {}
        for file in sorted(self._path.iterdir()):
            if file.suffix in _SUFFIXES and file.is_file():
                try:
                    found[file.name.partition(".")[0]] = (file, file.read_text(encoding="utf-8-sig"))
                except (OSError, ValueError) as error:
                    _log.error("%s was not read: %s", file, error)
        return found

    def _add(self, name: str, file: Path, code: str) -> None:
        address = self._javascript.apply(JSFunction(code, name))
        published: list[tuple[Portal, Address]] = [(self._javascript, address)]
        try:
            resolved = self._javascript.resolve_function(address)
            published.extend((portal, portal.apply(resolved)) for portal in self._portals[1:])
            self._published[name], self._seen[name] = published, (file, code)
        except BaseException:
            _remove_from(published)
            raise

    def _warn_of_schema(self, name: str, file: Path, code: str) -> None:
        _, address = self._published[name][0]
        if JSFunction(code, name).schema.fingerprint != self._javascript.resolve_function(address).schema.fingerprint:
            _log.warning("%s declares other parameters or another result; they are used from the next start on", file)

    def _remove(self, name: str) -> None:
        _remove_from(self._published.get(name, []))
        self._published.pop(name, None)
        del self._seen[name]
        _log.info("withdrew %s", name)

    def _follow(self) -> None:
        if not self._stopped.wait(self._interval):
            self.refresh()

    def close(self) -> None:
        """End the thread, and close the portal of the functions. May be called twice."""
        self._stopped.set()
        self._loop.stop()
        self._javascript.close()


def _remove_from(published: list[tuple[Portal, Address]]) -> None:
    """Remove a function from portals. After an error, the next call goes on with those that are left."""
    while published:
        portal, address = published[-1]
        with suppress(RegistryError):  # the application has removed it
            portal.remove(address)
        published.pop()
