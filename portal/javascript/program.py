"""Program: what an engine needs to run one JavaScript function.

A child process loads this module when it starts, so it imports little.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import NamedTuple

__all__ = ["Program"]


class _Fields(NamedTuple):
    name: str
    source: str
    added_lines: int = 0
    arguments: tuple[str, ...] | None = None
    options: str = "{}"
    modules: tuple[tuple[str, str], ...] = ()


class Program(_Fields):
    """A prepared function, as an engine runs it.

    Attributes:
        name: the name of the function, for messages.
        source: the prepared source.
        added_lines: how many lines stand before the user's own.
        arguments: the parameters to pass one by one, in order; None passes one object.
        options: JSON text of the options of the prelude.
        modules: prepared sources of the modules that it may import, by name.

    Threads: immutable; any thread may use it.
    """

    @cached_property
    def digest(self) -> str:
        """16 hex digits that depend on everything that an engine gets."""
        from hashlib import sha256  # a child process gets the digest, and does without

        return sha256(self.to_json().encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the program as JSON text."""
        return json.dumps(self)

    @staticmethod
    def from_json(text: str, digest: str) -> Program:
        """Return the program that `to_json` wrote, with its digest."""
        name, source, added, arguments, options, modules = json.loads(text)
        made = Program(
            name,
            source,
            added,
            None if arguments is None else tuple(arguments),
            options,
            tuple((one, code) for one, code in modules),
        )
        vars(made)["digest"] = digest
        return made
