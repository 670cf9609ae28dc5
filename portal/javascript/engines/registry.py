"""Find engines by name: those that come with Portal, and those that installed packages offer."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from ...errors import ConfigError
from ..engine import Engine

__all__ = ["AUTO", "GROUP", "available_engines", "engine_names", "engine_reference", "find_engine", "require_engine"]

#: Entry point group. The name is that of the engine; the value is a subclass of Engine.
GROUP = "portal.javascript_engines"
_BUILT_IN = {
    "js2py": "portal.javascript.engines.js2py.engine:Js2PyEngine",
    "quickjs": "portal.javascript.engines.quickjs:QuickJSEngine",
    "quickjs-wasm": "portal.javascript.engines.wasm.engine:QuickJSWasmEngine",
    "v8": "portal.javascript.engines.v8:V8Engine",
}
#: The order in which `engine="auto"` looks for an engine.
AUTO = ("quickjs", "js2py", "v8")


@cache
def _offered() -> dict[str, str]:
    """Return `module:class` of the engines of installed packages by name; reading that takes milliseconds."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def engine_names() -> list[str]:
    """Return the names of all engines, installed or not."""
    return sorted({*_BUILT_IN, *_offered()})


def engine_reference(name: str) -> str:
    """Return `module:class` of an engine. Raises ConfigError for an unknown name."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if name in _offered():
        return _offered()[name]
    raise ConfigError.invalid("javascript.engine", name, f'"auto" or one of {", ".join(engine_names())}')


def find_engine(name: str) -> type[Engine]:
    """Return the class of an engine, whether its packages are installed or not. Raises ConfigError."""
    module, _, member = engine_reference(name).partition(":")
    found = getattr(import_module(module), member)
    if not isinstance(found, type) or not issubclass(found, Engine):
        raise ConfigError.invalid(f"{GROUP}.{name}", found, "a subclass of Engine")
    return found


def available_engines() -> list[str]:
    """Return the names of the engines whose packages are installed, those of `AUTO` first."""
    names = [*AUTO, *(name for name in engine_names() if name not in AUTO)]
    return [name for name in names if _is_usable(name)]


def _is_usable(name: str) -> bool:
    try:
        return find_engine(name).is_available()
    except (ConfigError, ImportError, AttributeError):  # a plug-in that is broken, or an unknown name
        return False


def require_engine(name: str) -> type[Engine]:
    """Return the class of an engine whose packages are installed. Raises ConfigError, which says what to install."""
    found = find_engine(name)
    if not found.is_available():
        usable = ", ".join(available_engines()) or "none"
        message = f"the JavaScript engine {name} is not installed; usable engines: {usable}"
        raise ConfigError(message, path="javascript.engine", expected=f"pip install {found.install}")
    return found
