"""CheckedDirectory: the directory of a Consumer, and which hosts get no credential because only it names them."""

from __future__ import annotations

from collections.abc import Mapping

from .._internal.closing import close_resource
from .._internal.log import get_logger
from .._internal.settings import instance
from ..address import Address
from ..auth.credentials import ByAuthority, Credential
from ..directory.base import Directory, OnChange, Watch
from ..directory.instance import Instance
from ..directory.unsigned_origins import UnsignedOrigins

__all__ = ["CheckedDirectory", "GuardedCredential", "checked_directory", "guarded"]

_log = get_logger("portal.consumer")
#: Schemes that an unsigned entry may have. A function of this process needs no credential to be called, and a scheduler
#: of a cluster sends pickled objects, which are code.
_OPEN_SCHEMES = frozenset(("http", "https", "ws", "wss"))
_MAX_LOGGED = 100  # servers and schemes that are named in the log
_EXPECTED = "a Directory: an object with problem, instances(name) and watch(name, on_change), or the URL of one"


class _UnsignedWatch:
    """A watch of an unsigned directory; closing it also removes its list from the origins.

    Threads: any.
    """

    def __init__(self, watch: Watch, origins: UnsignedOrigins, key: object) -> None:
        self._watch = watch
        self._origins = origins
        self._key = key

    def close(self) -> None:
        """End the watch. May be called twice."""
        self._watch.close()
        self._origins.close_list(self._key)


class CheckedDirectory:
    """Wraps a directory.

    If anybody may write to the directory, this class notes the origins of its entries, and drops entries with schemes
    other than http, https, ws and wss.

    Args:
        directory: the directory.
        owned: whether `close` closes it.

    Attributes:
        trusted: whether all who can write to the directory may get credentials. A directory that does not say is
            trusted.

    Threads: any.
    """

    def __init__(self, directory: Directory, *, owned: bool) -> None:
        self._directory = directory
        self._owned = owned
        self.trusted: bool = getattr(directory, "trusted", True)
        self._origins = UnsignedOrigins()
        self._dropped: dict[str, bool] = {}  # scheme -> True, of what was logged

    @property
    def problem(self) -> str | None:
        """Why the lists may be out of date, or None."""
        return self._directory.problem

    def instances(self, name: str) -> tuple[Instance, ...]:
        """Return the living instances of a name; see `Directory.instances`."""
        found = self._directory.instances(name)
        if self.trusted:
            return found
        kept = self._without_other_schemes(found)
        self._origins.note(_server(one.address) for one in kept)
        return kept

    def known_names(self) -> tuple[str, ...]:
        """Return the names that the directory knows; empty if it does not tell."""
        tell = getattr(self._directory, "known_names", None)
        return tuple(tell()) if callable(tell) else ()

    def watch(self, name: str, on_change: OnChange) -> Watch:
        """Call `on_change` after each change; see `Directory.watch`."""
        if self.trusted:
            return self._directory.watch(name, on_change)
        key = self._origins.open_list()

        def report(found: tuple[Instance, ...]) -> None:
            kept = self._without_other_schemes(found)
            self._origins.replace(key, (_server(one.address) for one in kept))
            on_change(kept)

        try:
            return _UnsignedWatch(self._directory.watch(name, report), self._origins, key)
        except BaseException:
            self._origins.close_list(key)
            raise

    def _without_other_schemes(self, found: tuple[Instance, ...]) -> tuple[Instance, ...]:
        kept = tuple(one for one in found if one.address.scheme in _OPEN_SCHEMES)
        for scheme in {one.address.scheme for one in found} - _OPEN_SCHEMES:
            if scheme not in self._dropped and len(self._dropped) < _MAX_LOGGED:
                self._dropped.setdefault(scheme, True)
                _log.warning(
                    "an unsigned entry of the directory is left out: scheme=%.20s; open the directory with key=", scheme
                )
        return kept

    def names(self, address: Address) -> bool:
        """Return whether an unsigned entry has named the server of an address, with any scheme."""
        return _server(address) in self._origins

    def close(self) -> None:
        """Close the directory if it was opened for a URL."""
        if self._owned:
            close_resource(self._directory)


def _server(address: Address) -> tuple[object, ...]:
    """Return host and port: one server may take both HTTP and WebSockets."""
    return address.origin[1:]


class GuardedCredential:
    """Sends a credential, but not to servers that an unsigned entry of a directory has named.

    Args:
        credential: of the Consumer.
        directory: of the Consumer.

    Threads: any.
    """

    def __init__(self, credential: Credential, directory: CheckedDirectory) -> None:
        self._credential = credential
        self._directory = directory
        self._logged: dict[str, bool] = {}

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        """Return the headers for a call; {} for such a server."""
        if not self._directory.names(address):
            return self._credential.headers(address, deadline)
        if address.authority not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._logged[address.authority] = True
            _log.warning(
                "no credential is sent to a server that an unsigned entry of the directory names; open the directory "
                "with key=, or use ByAuthority: server=%s",
                address.authority,
            )
        return {}

    def rejected(self, address: Address) -> bool:
        """Note that the server rejected the headers; see `Credential.rejected`."""
        return not self._directory.names(address) and self._credential.rejected(address)


def checked_directory(value: Directory | str | None) -> CheckedDirectory | None:
    """Return the directory of a Consumer. One that is opened for a URL is closed with it. Raises: ConfigError."""
    if value is None:
        return None
    if isinstance(value, str):
        from ..directory.urls import open_directory

        return CheckedDirectory(open_directory(value), owned=True)
    return CheckedDirectory(instance("consumer.directory", value, Directory, expected=_EXPECTED), owned=False)


def guarded(credential: Credential | None, directory: CheckedDirectory | None) -> Credential | None:
    """Return the credential to use beside a directory. ByAuthority names its servers itself and needs no guard."""
    if credential is None or directory is None or directory.trusted or isinstance(credential, ByAuthority):
        return credential
    return GuardedCredential(credential, directory)
