"""Open a directory by its URL."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import unquote, urlsplit, urlunsplit

from .._internal.settings import positive_seconds, text
from ..errors import ConfigError
from .polled import PolledDirectory
from .source import RecordSource, Source
from .store import Store

__all__ = ["directory_at", "key_of", "open_directory", "store_at"]

_REDIS = ("redis", "rediss", "unix", "valkey", "valkeys")
_EXPECTED = 'a URL such as "redis://host:6379/0", "sqlite:///path", "memory://name", "file:///path" or "dns://name"'
_MIN_KEY = 16  # bytes


def open_directory(url: str, *, key: str | bytes | None = None, interval: float = 0.5) -> PolledDirectory:
    """Return the directory at a URL; it connects at its first use.

    | URL | what it reads |
    |---|---|
    | `memory://name` | what portals of this process registered |
    | `sqlite:///path` | what portals of this host registered, in a file |
    | `redis://host:6379/0#namespace` | what portals of any host registered; also rediss, unix, valkey, valkeys |
    | `file:///path.json` | a list that something else writes |
    | `dns://name?port=8080` | SRV or address records; see `portal.directory.dns` |

    Args:
        key: shared with the portals, whose records must be signed with it. At least 16 bytes. None accepts all records.
        interval: seconds between two looks for changes.

    Raises: ConfigError for another URL, a wrong setting, or a package that is not installed.
    """
    return PolledDirectory(_source_at(url, key_of(key), positive_seconds("directory.interval", interval)))


def directory_at(value: PolledDirectory | str) -> PolledDirectory:
    """Return a directory as it is, or the one at a URL."""
    return open_directory(value) if isinstance(value, str) else value


def key_of(key: str | bytes | None) -> bytes | None:
    """Return a shared key as bytes. Raises: ConfigError for a short one."""
    found = key.encode() if isinstance(key, str) else key
    if found is not None and (not isinstance(found, bytes) or len(found) < _MIN_KEY):
        raise ConfigError.invalid("directory.key", None, f"at least {_MIN_KEY} bytes, or None", secret=True)
    return found


def _source_at(url: str, key: bytes | None, interval: float) -> Source:
    scheme = _scheme_of(url)
    if scheme == "file":
        from .file import FileSource

        _require_no_key(key, "a file", "the permissions of the file say who may write it")
        return FileSource(_path_of(url), interval)
    if scheme == "dns":
        from .dns import DNSSource

        _require_no_key(key, "DNS", "records of DNS have no place for it")
        return DNSSource(url)
    return RecordSource(store_at(url), key, interval)


def _require_no_key(key: bytes | None, what: str, reason: str) -> None:
    if key is not None:
        raise ConfigError(f"directory.key does not apply to {what}; {reason}", path="directory.key")


def store_at(url: str) -> Store:
    """Return the store at a URL. Raises: ConfigError for another URL, and for one that portals cannot write."""
    scheme = _scheme_of(url)
    if scheme == "memory":
        from .memory import memory_store

        return memory_store(urlsplit(url).netloc)
    if scheme == "sqlite":
        from .sqlite import SQLiteStore

        return SQLiteStore(_path_of(url))
    if scheme in _REDIS:
        from .redis import RedisStore

        parts = urlsplit(url)
        return RedisStore(urlunsplit(parts._replace(fragment="")), namespace=unquote(parts.fragment) or "default")
    if scheme in ("file", "dns"):
        message = f"portals cannot register in a {scheme}:// directory, because another program writes it"
        raise ConfigError(message, path="directory", expected="a memory, sqlite or redis URL")
    return _reject()


def _scheme_of(url: str) -> str:
    text("directory", url, expected=_EXPECTED, secret=True)
    scheme, colon, _ = url.partition("://")
    return scheme if colon else _reject()


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or path == "/":
        raise ConfigError.invalid("directory", url, f'an absolute path, such as "{parts.scheme}:///var/lib/portals"')
    return path


def _reject() -> NoReturn:
    raise ConfigError.invalid("directory", None, _EXPECTED, secret=True)  # a URL may hold a password
