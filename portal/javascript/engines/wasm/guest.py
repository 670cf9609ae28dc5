"""Load the guest: QuickJS-ng as a WebAssembly module, which comes with the package quickjs-rs.

The file is private to that package, so it is pinned by its digest. To compile it takes a second. The result is machine
code, and wasmtime does not check it when it is loaded. So it is kept in a folder that only this user can use:
`PORTAL_CACHE_DIR`, else `portal` in the user's cache folder. If that is not private, or `PORTAL_CACHE_DIR` is empty, it
is kept in a temporary folder of this process.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...._internal.at_fork import new_lock
from ....errors import ConfigError

__all__ = ["DIGEST", "MAX_NATIVE_STACK", "Guest", "guest_version", "load_guest", "module_path"]

#: SHA-256 of `_guest.wasm` of quickjs-rs 0.2.6.
DIGEST = "647ab11ae29cc6d39a6d17d3aa1e7a6a0b5fb9c44b4864475a18bc644f926050"
#: Bytes of the stack of a thread that WebAssembly may use. The default stack of a thread is much larger.
MAX_NATIVE_STACK = 1024 * 1024
_CONFIGURATION = 2  # changes with the settings in `_engine`

#: The imports of the guest that are constant. They are WebAssembly, as a call of Python would cost a microsecond.
#: 8 is EBADF: the guest has no files. Random bytes are left as they are, so that equal calls cost equal fuel.
_STUBS = """(module
 (func (export "host_interrupt") (result i32) i32.const 0)
 (func (export "host_call") (param i32 i32 i32 i32 i32) (result i32) i32.const -1)
 (func (export "host_module_normalize") (param i32 i32 i32 i32 i32) (result i32) i32.const 0)
 (func (export "host_module_load") (param i32 i32 i32) (result i32) i32.const 0)
 (func (export "random_get") (param i32 i32) (result i32) i32.const 0)
 (func (export "environ_get") (param i32 i32) (result i32) i32.const 0)
 (func (export "fd_close") (param i32) (result i32) i32.const 8)
 (func (export "fd_fdstat_get") (param i32 i32) (result i32) i32.const 8)
 (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) i32.const 8)
 (func (export "fd_write") (param i32 i32 i32 i32) (result i32) i32.const 8)
 (func (export "proc_exit") (param i32) unreachable)
)"""

_lock = new_lock()  # guards the attributes below
_loaded: Guest | None = None
_temporary: Path | None = None


@dataclass(frozen=True)
class Guest:
    """The compiled guest.

    Attributes:
        wasmtime: the package.
        engine: wasmtime's engine.
        module: the guest.
        stubs: the module of its constant imports.
        imports: the names of its imports in order.

    Threads: any thread may make instances of it.
    """

    wasmtime: Any
    engine: Any
    module: Any
    stubs: Any
    imports: tuple[str, ...]


def guest_version() -> str:
    """Return the versions of quickjs-rs and wasmtime, or "" if one of them is not installed."""
    if find_spec("wasmtime") is None or find_spec("quickjs_rs") is None:
        return ""
    try:
        return f"{version('quickjs-rs')}+wasmtime{version('wasmtime')}"
    except PackageNotFoundError:
        return ""


def load_guest(path: str | None = None) -> Guest:
    """Return the guest. It is loaded once for each process.

    Args:
        path: of the compiled module, as `module_path` returned it in another process of this user.

    Raises: ConfigError if the file of quickjs-rs is not the one that was tested.
    """
    global _loaded
    found = _loaded
    if found is not None:
        return found
    with _lock:
        if _loaded is None:
            import wasmtime

            engine = _engine(wasmtime)
            compiled = Path(path) if path is not None else _compiled(wasmtime, engine)
            # not mapped, as that keeps a descriptor, and code would change with the file
            module = wasmtime.Module.deserialize(engine, compiled.read_bytes())
            names = tuple(str(one.name) for one in module.imports)
            _loaded = Guest(wasmtime, engine, module, wasmtime.Module(engine, _STUBS), names)
        return _loaded


def module_path() -> str:
    """Return the path of the compiled module. Raises: ConfigError."""
    import wasmtime

    with _lock:
        return str(_compiled(wasmtime, _engine(wasmtime)))


def _engine(wasmtime: Any) -> Any:
    config = wasmtime.Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    config.max_wasm_stack = MAX_NATIVE_STACK
    config.memory_may_move = False  # so that the address of a memory stays
    config.memory_init_cow = False  # it would keep a descriptor, and the memory is replaced anyway
    config.wasm_threads = False
    config.wasm_memory64 = False
    return wasmtime.Engine(config)


def _compiled(wasmtime: Any, engine: Any) -> Path:
    """Return the path of a compiled module that this engine can load."""
    source = _verified()
    name = f"quickjs-{DIGEST[:16]}-{version('wasmtime')}-{_CONFIGURATION}.cwasm"
    for folder in (_cache_folder(), _temporary_folder):
        place = folder() if callable(folder) else folder
        if place is None:
            continue
        path = place / name
        if _is_private(path) and _loads(wasmtime, engine, path):
            return path
        with suppress(OSError):
            _write(path, wasmtime.Module(engine, source).serialize())
            return path
    raise ConfigError(
        "the compiled WebAssembly module cannot be stored",
        path="javascript.engine",
        expected="a private folder in PORTAL_CACHE_DIR, or a writable temporary folder",
    )


def _verified() -> bytes:
    spec = find_spec("quickjs_rs")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = Path(folders[0], "_guest.wasm").read_bytes() if folders else b""
    digest = hashlib.sha256(found).hexdigest()
    if digest != DIGEST:
        raise ConfigError(
            f"the WebAssembly module of quickjs-rs must have the SHA-256 {DIGEST}, got {digest}",
            path="javascript.engine",
            expected="pip install quickjs-rs==0.2.6",
        )
    return found


def _cache_folder() -> Path | None:
    """Return a folder that only this user can use, or None."""
    given = os.environ.get("PORTAL_CACHE_DIR")
    if given == "":
        return None
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(given) if given else Path(home, "portal")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_private(folder) else None
    except (OSError, RuntimeError):  # no home, or it cannot be written
        return None


def _temporary_folder() -> Path:
    global _temporary
    if _temporary is None:
        _temporary = Path(tempfile.mkdtemp(prefix="portal-wasm-"))
        atexit.register(_remove_temporary, os.getpid())
    return _temporary


def _remove_temporary(owner: int) -> None:
    if _temporary is not None and os.getpid() == owner:
        shutil.rmtree(_temporary, ignore_errors=True)


def _is_private(path: Path) -> bool:
    """Return whether a file or folder exists, and whether only this user can change it."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    if not hasattr(os, "geteuid"):  # Windows: a folder of the user is private by its place
        return True
    return not stat.S_ISLNK(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022


def _loads(wasmtime: Any, engine: Any, path: Path) -> bool:
    try:
        wasmtime.Module.deserialize(engine, path.read_bytes())
    except Exception:  # of another version or configuration, or half a file
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    """Write a file at once, so that another process never sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # readable for this user only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
