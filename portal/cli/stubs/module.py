"""The text of a client module: classes for data and errors, and a class for each service."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...schema import FunctionSchema
from .names import Names, class_name, docstring, identifier, literal
from .types import Annotation, Types, required_members

__all__ = ["Published", "client_module"]

_WIDTH = 100


@dataclass(frozen=True)
class Published:
    """A published function.

    Attributes:
        schema: its schema.
        service: the name of its service; "" for none.
        name: its name below the address of the service, with `@version` if a newer version exists.
    """

    schema: FunctionSchema
    service: str
    name: str


@dataclass(frozen=True)
class _Parameter:
    name: str
    wire_name: str
    annotation: str
    default: str | None
    is_required: bool
    is_omitted: bool
    description: str


def client_module(functions: Iterable[Published], addresses: Mapping[str, str], descriptions: Mapping[str, str]) -> str:
    """Return the text of a module that calls functions.

    Args:
        functions: what is published.
        addresses: the address of each service by name; "" for that of functions without one.
        descriptions: the descriptions of services by name.
    """
    return _Module(addresses, descriptions).write(list(functions))


class _Module:
    """One module. Threads: one."""

    def __init__(self, addresses: Mapping[str, str], descriptions: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._descriptions = descriptions
        self._names = Names()
        self._types = Types(self._names)
        self._errors: dict[str, tuple[str, list[str]]] = {}
        self._imports = {"from typing import ClassVar", "from portal.consumer import Client"}

    def write(self, functions: list[Published]) -> str:
        by_service: dict[str, list[Published]] = {}
        for one in sorted(functions, key=lambda one: (one.service, one.name)):
            by_service.setdefault(one.service, []).append(one)
        # the classes of services get their names first: a type of the same name gets a number
        names = {service: self._names.free(class_name(service or "functions")) for service in by_service}
        clients = [self._client(names[service], service, rows) for service, rows in by_service.items()]
        errors = [lines for _, lines in self._errors.values()]
        classes = [*self._types.enums.values(), *errors, *self._types.classes.values(), *clients]
        exported = [*self._types.enums, *(name for name, _ in self._errors.values()), *self._types.classes]
        listed = ", ".join(service or "functions" for service in by_service) or "nothing"
        text = f"A client of {listed}.\n\nWritten by `portal stub`. Changes are lost when it is written again."
        lines = [*docstring(text, ""), "", "from __future__ import annotations", ""]
        lines += [*_import_lines(self._imports | self._types.imports), ""]
        names_of_all = [f'"{name}"' for name in sorted([*exported, *names.values()])]
        line = f"__all__ = [{', '.join(names_of_all)}]"
        lines += [line] if len(line) <= _WIDTH else ["__all__ = [", *(f"    {name}," for name in names_of_all), "]"]
        for text_of_class in classes:
            lines += ["", "", *text_of_class]
        found = "\n".join(lines) + "\n"
        ast.parse(found)  # whatever a server sent: the module is one
        return found

    def _client(self, name: str, service: str, functions: list[Published]) -> list[str]:
        words = self._descriptions.get(service) or f"The functions of {service or 'this portal'}."
        lines = [f"class {name}(Client):", *docstring(words, "    "), ""]
        lines += [f"    ADDRESS: ClassVar[str] = {literal(self._addresses[service])}"]
        taken = {"ADDRESS"}
        for one in functions:
            method = identifier(one.name.replace("@", "_v"))
            while method in taken:
                method += "_"
            taken.add(method)
            lines += ["", *self._method(method, one)]
        return lines

    def _method(self, method: str, one: Published) -> list[str]:
        schema = one.schema
        place = class_name(f"{one.service}_{schema.name}")
        parameters = self._parameters(schema, place)
        result = self._types.annotation(schema.output, schema.output, f"{place}Result").text
        if schema.streaming:
            self._imports.add("from collections.abc import Iterator")
        texts = [_parameter_text(one) for one in parameters]
        lines = _signature(method, texts, f"Iterator[{result}]" if schema.streaming else result)
        lines += docstring(self._words(schema, parameters), "        ")
        members = ", ".join(f"{literal(one.wire_name)}: {one.name}" for one in parameters)
        omitted = [one.wire_name for one in parameters if one.is_omitted]
        call = _caller_of(schema)
        arguments = [literal(one.name), f"{{{members}}}", f"returns={result}"]
        arguments += [f"omit={literal(tuple(omitted))}"] if omitted else []
        start = f"        {'' if result == 'None' and not schema.streaming else 'return '}self.{call}("
        line = f"{start}{', '.join(arguments)})"
        if len(line) <= _WIDTH:
            return [*lines, line]
        return [*lines, start, *(f"            {part}," for part in arguments), "        )"]

    def _parameters(self, schema: FunctionSchema, place: str) -> list[_Parameter]:
        properties = schema.input.get("properties")
        required = required_members(schema.input)
        found, taken = [], {"self"}
        for wire_name, part in (properties if isinstance(properties, dict) else {}).items():
            annotation = self._types.annotation(part, schema.input, f"{place}_{wire_name}")
            name = identifier(wire_name)
            while name in taken:
                name += "_"
            taken.add(name)
            found.append(self._parameter(name, wire_name, part, annotation, wire_name in required))
        return sorted(found, key=lambda one: not one.is_required)

    def _parameter(self, name: str, wire_name: str, part: Any, annotation: Annotation, is_required: bool) -> _Parameter:
        words = str(part.get("description", "")) if isinstance(part, dict) else ""
        default = None if is_required else self._types.default(part, annotation)
        is_omitted = not is_required and default is None
        text = annotation.or_none() if is_omitted else annotation.text
        return _Parameter(name, wire_name, text, "None" if is_omitted else default, is_required, is_omitted, words)

    def _words(self, schema: FunctionSchema, parameters: list[_Parameter]) -> str:
        lines = [schema.description.strip() or f"Call {schema.name}."]
        described = [f"    {one.name}: {' '.join(one.description.split())}" for one in parameters if one.description]
        if described:
            lines += ["", "Args:", *described]
        raised = [f"    {self._error(row)}: {' '.join(str(row['description']).split())}" for row in schema.raises]
        if raised:
            lines += ["", "Raises:", *raised]
        return "\n".join(lines)

    def _error(self, row: Mapping[str, Any]) -> str:
        """Return the name of the class of a declared error: one of Portal's, or one that is added to the module."""
        from ... import errors

        code, title = str(row["code"]), class_name(str(row["name"]))
        known = getattr(errors, title, None)
        if known is not None and getattr(known, "code", None) == code:
            return title
        if code not in self._errors:
            self._imports.add("from portal.errors import PortalError, declared_error")
            name = self._names.free(title)
            members = {one: part for one, part in row["members"].items() if identifier(one) == one}
            types = {one: self._types.annotation(part, part, f"{name}_{one}").text for one, part in members.items()}
            lines = [
                f"@declared_error({literal(code)}, status={int(row['status'])}, retryable={bool(row['retryable'])})",
                f"class {name}(PortalError, abstract=True):",
                *docstring(str(row["description"]), "    "),
            ]
            if members:
                lines += ["", f"    members: ClassVar[tuple[str, ...]] = {literal(tuple(members))}", "", *_init(types)]
            self._errors[code] = (name, lines)
        return self._errors[code][0]


def _init(members: Mapping[str, str]) -> list[str]:
    """Return the lines of the `__init__` of an error with members, by their annotations."""
    texts = ['message: str = ""', "*", *(f"{name}: {annotation}" for name, annotation in members.items())]
    lines = [*_signature("__init__", texts, "None"), "        super().__init__(message)"]
    return [*lines, *(f"        self.{name}: {annotation} = {name}" for name, annotation in members.items())]


def _caller_of(schema: FunctionSchema) -> str:
    """Return the name of the method of Client that calls a function."""
    if schema.streaming:
        return "_stream"
    return "_call_with_files" if schema.transfer is not None and schema.transfer.files else "_call"


def _parameter_text(one: _Parameter) -> str:
    return f"{one.name}: {one.annotation}" + ("" if one.default is None else f" = {one.default}")


def _signature(method: str, texts: list[str], result: str) -> list[str]:
    line = f"    def {method}({', '.join(['self', *texts])}) -> {result}:"
    if len(line) <= _WIDTH:
        return [line]
    return [f"    def {method}(", "        self,", *(f"        {text}," for text in texts), f"    ) -> {result}:"]


def _import_lines(statements: set[str]) -> list[str]:
    """Return import statements in the order of isort: plain ones first, names of one module joined."""
    plain = sorted(one for one in statements if one.startswith("import "))
    names: dict[str, set[str]] = {}
    for one in statements - set(plain):
        module, _, listed = one.removeprefix("from ").partition(" import ")
        names.setdefault(module, set()).update(listed.split(", "))
    rows = [f"from {module} import {', '.join(_sorted(listed))}" for module, listed in sorted(names.items())]
    own = [row for row in rows if row.startswith("from portal")]
    standard = [*plain, *(row for row in rows if row not in own)]
    return [*standard, *([""] if standard else []), *own]


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (not name.isupper(), name[:1].islower(), name))
