"""JSFunction: the declaration of a JavaScript function."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._internal.settings import choice, file_path, flag, instance, positive_seconds, require, size, text
from ..errors import ConfigError, JavaScriptError
from ..schema import FunctionSchema, Schema, check_name
from .engines.registry import engine_names
from .parsing.jsdoc import read_jsdoc
from .parsing.lexer import position
from .parsing.source import Source, arguments_for, prepare, prepare_module
from .program import Program

__all__ = ["JSFunction"]

#: Characters of the source of one function, its modules included.
MAX_SOURCE = 1024 * 1024


class JSFunction:
    """A JavaScript function with a name and a schema. `JavaScriptPortal.apply` publishes it.

    Args:
        code: the source. The function is the default export, else the declaration `name`, else the only function
            declared at the top, else the source itself if it is an expression such as `(p) => p.a + p.b`.
        name: the name in addresses.
        schema: a FunctionSchema; or a dict with "input" and "output", each a type hint, a marshmallow schema or a JSON
            Schema; or one JSON Schema, that of the parameters. None takes the JSDoc comment of the function,
            else the names of its parameters, of any type.
        version: the version of the schema, by PEP 440.
        idempotent: whether two calls have the same effect as one.
        timeout: seconds that a call may take; None for the limit of the sandbox.
        memory: bytes of the JavaScript heap; None for the limit of the sandbox.
        engine: the name of an engine; None for the default of the portal.
        modules: sources of the modules that it may import, by name; or names of modules of the portal's host.
        trusted: whether this is the developer's own code, which may run in threads of this process.

    Attributes:
        code, name, engine, trusted, timeout, memory: as given.
        schema: the FunctionSchema.
        code_hash: SHA-256 of the source and the modules, as hex digits.

    Raises: ConfigError for a wrong setting; RegistryError for an invalid name; JavaScriptError (stage "syntax") for
        module syntax that is not supported.

    Threads: immutable; any thread may use it.
    """

    def __init__(
        self,
        code: str,
        name: str,
        *,
        schema: FunctionSchema | Mapping[str, Any] | None = None,
        version: str = "1",
        idempotent: bool = False,
        timeout: float | None = None,
        memory: int | None = None,
        engine: str | None = None,
        modules: Mapping[str, str] | Iterable[str] = (),
        trusted: bool = False,
    ) -> None:
        text("javascript.code", code, expected="JavaScript source text")
        require(len(code) <= MAX_SOURCE, "javascript.code", f"{len(code):,} characters", f"at most {MAX_SOURCE:,}")
        self.code = code
        self.name = check_name(name)
        self.engine = choice("javascript.engine", engine, engine_names(), optional=True)
        self.trusted = flag("function.trusted", trusted)
        self.timeout = positive_seconds("function.timeout", timeout, optional=True)
        self.memory = size("function.memory", memory, optional=True)
        self._modules = _modules_of(modules)
        self._source = prepare(code, name)
        _require_prepared(self._source, code, name)
        options: dict[str, Any] = {"version": version, "idempotent": idempotent, "timeout": timeout}
        self.schema = _schema_of(name, schema, code, self._source, options)

    @staticmethod
    def from_file(path: str | Path, **options: Any) -> JSFunction:
        """Return the function of a file; its name is that of the file without the suffix, unless `name=` is given."""
        file = Path(file_path("javascript.path", path))
        name = options.pop("name", None) or file.name.partition(".")[0]
        return JSFunction(_read(file), name, **options)

    @staticmethod
    def from_folder(path: str | Path, **options: Any) -> list[JSFunction]:
        """Return the functions of the `.js` and `.mjs` files in a folder, by name. Raises ConfigError."""
        folder = Path(file_path("javascript.path", path))
        if not folder.is_dir():
            raise ConfigError.invalid("javascript.path", str(path), "a folder")
        files = sorted(file for file in folder.iterdir() if file.suffix in (".js", ".mjs") and file.is_file())
        return [JSFunction.from_file(file, **options) for file in files]

    def __repr__(self) -> str:
        return f"<JSFunction {self.name}@{self.schema.version} {self.code_hash[:8]}>"

    @property
    def code_hash(self) -> str:
        """SHA-256 of the source and the modules, as hex digits."""
        whole = repr((self.code, sorted(self._modules.items()))).encode("utf-8", "surrogatepass")
        return hashlib.sha256(whole).hexdigest()

    def with_code(self, code: str) -> JSFunction:
        """Return the same function with other code; the schema stays."""
        made = JSFunction.__new__(JSFunction)
        JSFunction.__init__(
            made,
            code,
            self.name,
            schema=self.schema,
            timeout=self.timeout,
            memory=self.memory,
            engine=self.engine,
            modules=self._modules,
            trusted=self.trusted,
        )
        return made

    def program(self, options: str, library: Mapping[str, str]) -> Program:
        """Return the program for an engine.

        Args:
            options: options of the prelude as JSON text.
            library: sources of the modules of the portal.

        Raises: ConfigError for a module that does not exist; JavaScriptError for one that cannot be prepared.
        """
        modules = []
        for name, code in self._modules.items():
            if not code and name not in library:
                known = ", ".join(sorted(library)) or "none"
                raise ConfigError.invalid("function.modules", name, f"a module of the portal's host (it has {known})")
            found = prepare_module(code or library[name])
            _require_prepared(found, code, name)
            modules.append((name, found.text))
        source, properties = self._source, self.schema.input.get("properties", {})
        arguments = arguments_for(source.parameters, properties)
        return Program(self.name, source.text, source.added_lines, arguments, options, tuple(modules))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError.invalid("javascript.path", str(file), f"a readable UTF-8 file ({error})") from error


def _modules_of(modules: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    given = dict(modules) if isinstance(modules, Mapping) else dict.fromkeys(_names(modules), "")
    for name, code in given.items():
        instance("function.modules", code, str, expected="source text by name")
        require(len(code) <= MAX_SOURCE, "function.modules", f"{name} of {len(code):,} characters", "smaller modules")
    return given


def _names(modules: Any) -> list[str]:
    is_list = isinstance(modules, Iterable) and not isinstance(modules, str)
    found = list(modules) if is_list else []
    ok = is_list and all(isinstance(one, str) and one for one in found)
    require(ok, "function.modules", modules, "a list of names or a dict")
    return found


def _require_prepared(source: Source, code: str, name: str) -> None:
    if source.problem is not None:
        message, index = source.problem
        line, column = position(code, index)
        raise JavaScriptError(f"{name}: {message}", stage="syntax", line=line, column=column)


def _schema_of(name: str, given: Any, code: str, source: Source, options: dict[str, Any]) -> FunctionSchema:
    if isinstance(given, FunctionSchema):
        return given if given.name == name else replace(given, name=name)
    instance("javascript.schema", given, Mapping, expected="a FunctionSchema or a dict", optional=True)
    if given is None:
        members = _members_of(code, source)
    elif "input" in given or "output" in given:
        members = dict(given)
    else:
        members = {"input": dict(given)}
    for member in ("input", "output"):
        if member in members:
            members[member] = Schema.of(members[member]).to_json()
    try:
        return FunctionSchema(name=name, **{**options, **members})
    except TypeError:
        expected = 'a dict with "input", "output", "description", "tags" and "examples"'
        raise ConfigError.invalid("javascript.schema", sorted(members), expected) from None


def _members_of(code: str, source: Source) -> dict[str, Any]:
    """Return the members of the schema that the JSDoc of the function declares, or the names of its parameters."""
    found = read_jsdoc(code, source.start)
    if found is None:
        return {"input": _input_of(source)}
    members: dict[str, Any] = {"description": found.description}
    if found.result is not None:
        members["output"] = found.result
    parameters, names = found.parameters, source.parameters or ()
    if parameters is None:
        return members | {"input": _input_of(source)}
    only = next(iter(parameters["properties"].values()))
    if len(parameters["properties"]) == len(names) == 1 and only.get("properties"):
        parameters = only  # the one parameter is the object of all parameters
    return members | {"input": parameters}


def _input_of(source: Source) -> dict[str, Any]:
    """Return the schema of parameters of any type; a function of one parameter takes any object."""
    names = source.parameters or ()
    plain = [one for one in names if one is not None]
    if len(names) < 2 or len(plain) < len(names):
        return {"type": "object"}
    return {
        "type": "object",
        "properties": {one: {} for one in plain},
        "required": plain,
        "additionalProperties": False,
    }
