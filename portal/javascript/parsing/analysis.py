"""Look at JavaScript before it first runs. This is a first line only: limits stop what it does not see.

tree-sitter-javascript parses the source if it is installed. Without it the tokens are looked at; then wrong syntax is
found when the code is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any, Literal

from ..._internal.settings import choice, size, whole_number
from ...errors import JavaScriptError
from .lexer import position
from .token_analysis import find_in_tokens

__all__ = ["Analysis", "Finding", "analyse"]

Policy = Literal["reject", "warn", "off"]
_POLICIES = ("reject", "warn", "off")
_DANGEROUS_CALLS = {"eval": "eval", "Function": "Function", "import": "dynamic-import"}
_ENDLESS = {"while_statement", "do_statement", "for_statement"}
_LITERALS = ("string", "template_string", "number", "regex")
_LEAVING = ("break_statement", "return_statement", "throw_statement", "yield_expression", "await_expression")
_MESSAGES = {
    "eval": "code must not be loaded or made while it runs",
    "Function": "code must not be loaded or made while it runs",
    "dynamic-import": "code must not be loaded or made while it runs",
    "constructor": "a function must not be made by a constructor property",
    "with": "the statement with must not be used",
    "prototype": "a prototype must not be changed",
    "endless-loop": "the loop never ends",
    "regex": "a quantifier of a quantified group may take exponential time",
    "literal": "a literal is too long",
    "nesting": "code is nested too deeply",
}
#: The parser looks for the end of a regular expression at each "/", up to the end of the line.
_LONG_LINE, _MAX_SLASHES = 4000, 200
_MAX_STEPS = 500_000  # nodes that are looked at for endless loops in one source; other loops are not
_MAX_FINDINGS = 100  # the rest of the source is not looked at
_MAX_TEXT = 4000  # bytes of what is called or assigned
_NESTED_QUANTIFIERS = re.compile(r"\((?:[^()\\]|\\.)*[+*](?:[^()\\]|\\.)*\)(?:[+*]|\{\d+,\d*\})")


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of the analysis in a source.

    Attributes:
        rule: "syntax", "eval", "Function", "dynamic-import", "with", "prototype", "constructor", "endless-loop",
            "regex", "literal", "nesting" or "size".
        message: one sentence.
        line, column: the place, from 1.
    """

    rule: str
    message: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message} ({self.rule})"


@dataclass(frozen=True, slots=True)
class Analysis:
    """The settings of `analyse`, and the response to its findings.

    Attributes:
        policy: "reject" raises JavaScriptError, "warn" logs, "off" does not look.
        max_size: characters of a source.
        max_nesting: brackets and statements inside of each other.
        max_literal: characters of one literal.

    Raises: ConfigError for a wrong value.

    Threads: immutable; any thread may use it.
    """

    policy: Policy = "warn"
    max_size: int = 256 * 1024
    max_nesting: int = 200
    max_literal: int = 64 * 1024

    def __post_init__(self) -> None:
        choice("analysis.policy", self.policy, _POLICIES)
        size("analysis.max_size", self.max_size)
        whole_number("analysis.max_nesting", self.max_nesting, minimum=1)
        size("analysis.max_literal", self.max_literal)

    def check(self, name: str, source: str) -> list[Finding]:
        """Return the findings. Raises: JavaScriptError (stage "analysis" or "syntax") if the policy is "reject"."""
        if self.policy == "off":
            return []
        found = analyse(source, self)
        if found and self.policy == "reject":
            first = found[0]
            stage = "syntax" if first.rule == "syntax" else "analysis"
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            message = f"{name}: {first.message}{more}"
            raise JavaScriptError(message, stage=stage, line=first.line, column=first.column)
        return found


def analyse(source: str, settings: Analysis | None = None) -> list[Finding]:
    """Return what is dangerous in a source, by place."""
    bounds = settings or Analysis()
    if len(source) > bounds.max_size:
        return [Finding("size", f"the source has {len(source):,} characters, more than {bounds.max_size:,}")]
    found = islice(_findings(source, bounds), _MAX_FINDINGS)
    return sorted(found, key=lambda one: (one.line, one.column))


def _findings(source: str, bounds: Analysis) -> Iterator[Finding]:
    is_missing = find_spec("tree_sitter_javascript") is None or find_spec("tree_sitter") is None
    if is_missing or any(len(line) > _LONG_LINE and line.count("/") > _MAX_SLASHES for line in source.splitlines()):
        yield from _findings_in_tokens(source, bounds)
        return
    import tree_sitter
    import tree_sitter_javascript

    data = source.encode("utf-8", "replace")
    language = tree_sitter.Language(tree_sitter_javascript.language())
    root = tree_sitter.Parser(language).parse(data).root_node
    waiting: list[tuple[Any, int]] = [(root, 0)]
    loops, too_deep = _Loops(), False
    while waiting:
        node, depth = waiting.pop()
        found = list(_rules(node, bounds, loops))
        if depth > bounds.max_nesting:
            if not too_deep:
                found.insert(0, ("nesting", f"code is nested more than {bounds.max_nesting} levels deep"))
            too_deep = True
        for rule, message in found:
            yield Finding(rule, message, node.start_point[0] + 1, _column(data, node))
        if depth <= bounds.max_nesting:  # a node far down takes the parser long to find
            waiting.extend((child, depth + 1) for child in reversed(node.children))


def _findings_in_tokens(source: str, bounds: Analysis) -> Iterator[Finding]:
    for rule, index in find_in_tokens(source, max_nesting=bounds.max_nesting, max_literal=bounds.max_literal):
        text = source[index : index + bounds.max_literal]
        if rule != "regex" or _NESTED_QUANTIFIERS.search(text.partition("\n")[0]) is not None:
            yield Finding(rule, _MESSAGES[rule], *position(source, index))


def _column(data: bytes, node: Any) -> int:
    start = node.start_byte - node.start_point[1]
    return len(data[start : node.start_byte].decode("utf-8", "replace")) + 1


def _rules(node: Any, bounds: Analysis, loops: _Loops) -> Iterator[tuple[str, str]]:
    kind = node.type
    if node.is_error or node.is_missing:
        yield "syntax", "the syntax is wrong"
    elif kind in ("call_expression", "new_expression"):
        called = node.child_by_field_name("function") or node.child_by_field_name("constructor")
        name = _text(called)
        if name in _DANGEROUS_CALLS:
            rule = _DANGEROUS_CALLS[name]
            yield rule, "code must not be loaded or made while it runs"
        elif name.endswith(".constructor"):
            yield "constructor", "a function must not be made by a constructor property"
    elif kind == "with_statement":
        yield "with", "the statement with must not be used"
    elif kind in ("assignment_expression", "augmented_assignment_expression"):
        target = _text(node.child_by_field_name("left"))
        if re.search(r"\.prototype\b|__proto__", target):
            yield "prototype", "a prototype must not be changed"
    elif kind in _ENDLESS and loops.is_endless(node):
        yield "endless-loop", "the loop never ends"
    elif kind == "regex" and _NESTED_QUANTIFIERS.search(_text(node)):
        yield "regex", "a quantifier of a quantified group may take exponential time"
    elif kind in _LITERALS and node.end_byte - node.start_byte > bounds.max_literal:
        yield "literal", f"a literal has more than {bounds.max_literal:,} bytes"


class _Loops:
    """Finds endless loops, as far as the steps last."""

    def __init__(self) -> None:
        self._steps = _MAX_STEPS

    def is_endless(self, node: Any) -> bool:
        condition = _text(node.child_by_field_name("condition")).strip("(); ")
        if condition not in ("", "true", "1", "!0"):
            return False
        waiting = list(node.children)
        while waiting and self._steps > 0:
            self._steps -= 1
            one = waiting.pop()
            if one.type in _LEAVING:
                return False
            if one.type not in ("function_declaration", "function_expression", "arrow_function"):
                waiting.extend(one.children)
        return not waiting


def _text(node: Any) -> str:
    """Return the text of a node, but "..." for a long one: nested nodes would be copied again and again."""
    if node is None:
        return ""
    is_long = node.end_byte - node.start_byte > _MAX_TEXT
    return "..." if is_long else node.text.decode("utf-8", "replace")
