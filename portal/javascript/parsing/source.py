"""Source: the source of a JavaScript function, prepared for an engine.

An engine evaluates the prepared source as a script. The script assigns the function to `__default__`, which the
prelude defines. Module syntax is rewritten to this form without moving code to another line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .lexer import Token, code_tokens

__all__ = ["Source", "arguments_for", "prepare", "prepare_module"]

_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*")
_DECLARING = ("const", "let", "var")


class Source(NamedTuple):
    """A prepared source.

    Attributes:
        text: what an engine evaluates.
        added_lines: how many lines stand before the user's own.
        parameters: the names of the function's parameters, with None for a pattern; None if they are not known.
        problem: why the source cannot be prepared, with its index; None if it can.
        start: the index of the function in the user's source.
    """

    text: str
    added_lines: int = 0
    parameters: tuple[str | None, ...] | None = None
    problem: tuple[str, int] | None = None
    start: int = 0


def arguments_for(
    parameters: Sequence[str | None] | None, properties: Mapping[str, Any] | Sequence[str]
) -> tuple[str, ...] | None:
    """Return the parameters that are passed one by one, or None if the function takes one object.

    They are passed by name if each parameter of the function has the name of a parameter of the schema. Otherwise a
    function with two or more plain parameters gets them in the order of the schema.
    """
    names = list(properties)
    if not parameters or not names:
        return None
    plain = [one for one in parameters if one is not None]
    if len(plain) == len(parameters) and all(one in names for one in plain):
        return tuple(plain)
    return tuple(names[: len(parameters)]) if len(plain) == len(parameters) > 1 else None


def prepare(source: str, name: str) -> Source:
    """Prepare the source of a function.

    The function is the default export, else the declaration `name`, else the only function declared at the top, else
    the source itself if it is an expression.
    """
    code = code_tokens(source)
    edits = _ModuleEdits(source, code)
    if edits.problem is not None:
        return Source(source, problem=edits.problem)
    found = edits.default if edits.default is not None else _entry(code, name)
    tail = edits.tail if edits.default is not None else [*edits.tail, _assignment(found, code, name)]
    if not edits.edits and not edits.tail and found is None and _is_expression(code):
        parameters, start = _parameters(code, 0), code[0].start
        return Source(f"__default__ =\n{source}\n;", 1, parameters, start=start)
    parameters = None if found is None else _parameters(code, found)
    start = code[found].start if found is not None and found < len(code) else 0
    text = edits.apply() + "\n;" + "".join(tail)
    if edits.is_module:
        return Source(f'"use strict";\n{text}', 1, parameters, start=start)
    return Source(text, 0, parameters, start=start)


def prepare_module(source: str) -> Source:
    """Prepare the source of a module: an expression whose value is a function (require, module, exports)."""
    edits = _ModuleEdits(source, code_tokens(source))
    if edits.problem is not None:
        return Source(source, problem=edits.problem)
    strict = '"use strict"; ' if edits.is_module else ""
    head = f"(function (require, module, exports) {{ {strict}var __default__, __exports__ = exports;\n"
    tail = "".join(edits.tail) + "if (__default__ !== undefined) exports.default = __default__;"
    return Source(f"{head}{edits.apply()}\n;{tail}\n}})", 1)


class _ModuleEdits:
    """Replacements that turn `import` and `export` statements at the top of a source into plain code."""

    def __init__(self, source: str, code: list[Token]) -> None:
        self.source = source
        self.code = code
        self.edits: list[tuple[int, int, str]] = []
        self.tail: list[str] = []
        self.default: int | None = None  # index of the token with which the default export begins
        self.is_module = False
        self.problem: tuple[str, int] | None = None
        for index, token in enumerate(code):
            if token.depth or token.kind != "word" or (index and code[index - 1].text in (".", "?.")):
                continue
            if token.text == "export":
                self._export(index)
            elif token.text == "import" and self._text(index + 1) not in ("(", "."):
                self._import(index)

    def apply(self) -> str:
        """Return the source with the replacements; each keeps the number of lines."""
        text, at = "", 0
        for start, end, new in self.edits:
            old = self.source[start:end]
            padding = "\n" * (old.count("\n") - new.count("\n")) or " " * (len(old) - len(new))
            text += self.source[at:start] + new + padding
            at = end
        return text + self.source[at:]

    def _text(self, index: int) -> str:
        return self.code[index].text if index < len(self.code) else ""

    def _replace(self, first: int, last: int, new: str = "") -> None:
        self.is_module = True
        self.edits.append((self.code[first].start, self.code[last].end, new))

    def _fail(self, index: int, message: str) -> None:
        self.problem = self.problem or (message, self.code[index].start)

    def _export(self, index: int) -> None:
        following = self._text(index + 1)
        if following == "default":
            self.default = index + 2
            named = index + 3 + (self._text(index + 2) == "async") + (self._text(index + 3) == "*")
            if self._text(named - 1) in ("function", "class", "*") and _IDENTIFIER.fullmatch(self._text(named)):
                self._replace(index, index + 1)
                self.tail.append(f"__default__ = {self._text(named)};")
            else:
                self._replace(index, index + 1, "__default__ = ")
        elif following in ("{", "*"):
            self._export_list(index)
        else:
            name = index + 2 + (following == "async")
            name += self._text(name) == "*"
            if following not in (*_DECLARING, "function", "class", "async") or not _IDENTIFIER.fullmatch(
                self._text(name)
            ):
                self._fail(index, "this form of export is not supported; export one name, a function or a class")
                return
            self._replace(index, index)
            self.tail.append(f"__exports__.{self._text(name)} = {self._text(name)};")

    def _export_list(self, index: int) -> None:
        end, pairs = self._names(index + 1)
        source = ""
        if self._text(end + 1) == "from" and end + 2 < len(self.code):
            source, end = f"require({self._text(end + 2)})", end + 2
        if self._text(index + 1) == "*":
            self.tail.append(f"Object.assign(__exports__, {source});")
        for old, new in pairs:
            value = f"{source}.{old}" if source else old
            self.tail.append(f"__default__ = {value};" if new == "default" else f"__exports__.{new} = {value};")
        self._replace(index, end)

    def _import(self, index: int) -> None:
        parts = []
        at = index + 1
        if self.code[at : at + 1] and self.code[at].kind == "string":
            self._replace(index, at, f"require({self._text(at)})")
            return
        if _IDENTIFIER.fullmatch(self._text(at)):
            parts.append((self._text(at), ".default"))
            at += 1 + (self._text(at + 1) == ",")
        if self._text(at) == "*" and self._text(at + 1) == "as":
            parts.append((self._text(at + 2), ""))
            at += 3
        elif self._text(at) == "{":
            end, pairs = self._names(at)
            parts.append(("{" + ", ".join(f"{old}: {new}" for old, new in pairs) + "}", ""))
            at = end + 1
        if self._text(at) != "from" or at + 1 >= len(self.code) or self.code[at + 1].kind != "string":
            self._fail(index, "this form of import is not supported")
            return
        module = self._text(at + 1)
        values = {"": f"require({module})", ".default": f"require.default({module})"}
        self._replace(index, at + 1, "const " + ", ".join(f"{name} = {values[kind]}" for name, kind in parts))

    def _names(self, index: int) -> tuple[int, list[tuple[str, str]]]:
        """Return the index of the token that closes `{a as b, c}`, and the pairs of names."""
        if self._text(index) == "*":
            return index, []
        pairs, at = [], index + 1
        while at < len(self.code) and self._text(at) != "}":
            if self._text(at + 1) == "as":
                pairs.append((self._text(at), self._text(at + 2)))
                at += 3
            else:
                pairs.append((self._text(at), self._text(at)))
                at += 1
            at += self._text(at) == ","
        return min(at, len(self.code) - 1), pairs


def _entry(code: list[Token], name: str) -> int | None:
    """Return the index of the token with which the function begins: `function`, `async`, or what follows `name =`."""
    declared: dict[str, int] = {}
    functions = []
    for index, token in enumerate(code):
        if token.depth or token.kind != "word":
            continue
        if token.text == "function" and (index == 0 or code[index - 1].text not in ("=", "(", ",", ":")):
            at = index + 1 + (index + 1 < len(code) and code[index + 1].text == "*")
            if at < len(code) and code[at].kind == "word":
                is_async = index > 0 and code[index - 1].text == "async"
                declared[code[at].text] = index - is_async
                functions.append(code[at].text)
        elif token.text in _DECLARING and index + 2 < len(code) and code[index + 2].text == "=":
            declared[code[index + 1].text] = index + 3
    if name in declared:
        return declared[name]
    return declared[functions[0]] if len(set(functions)) == 1 else None


def _assignment(found: int | None, code: list[Token], name: str) -> str:
    if found is not None:
        before = code[found - 2].text if found >= 2 and code[found - 1].text == "=" else ""
        words = [token.text for token in code[found : found + 4] if token.text not in ("async", "function", "*")]
        name = before or next(iter(words), "")
    if not _IDENTIFIER.fullmatch(name):
        return ""
    return f'__default__ = typeof {name} === "undefined" ? undefined : {name};'


def _is_expression(code: list[Token]) -> bool:
    words = [token.text for token in code[:3]]
    if words[:1] == ["async"]:
        words = words[1:]
    first, second = [*words, "", ""][:2]
    return second in ("(", "*") if first == "function" else first == "(" or second == "=>"


def _parameters(code: list[Token], index: int) -> tuple[str | None, ...] | None:
    """Return the names of the parameters of the function that begins at a token."""
    while index < len(code) and code[index].text in ("async", "function", "*"):
        index += 1
    if index < len(code) and code[index].kind == "word":
        if index + 1 < len(code) and code[index + 1].text == "=>":
            return (code[index].text,)
        index += 1
    if index >= len(code) or code[index].text != "(":
        return None
    outer, found = code[index].depth, list[str | None]()
    starts = True
    for token in code[index + 1 :]:
        if token.depth <= outer:
            break
        if starts:
            found.append(token.text if token.kind == "word" else None)
            starts = False
        elif token.text == "," and token.depth == outer + 1:
            starts = True
    return tuple(found)
