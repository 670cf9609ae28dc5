"""JSService: JavaScript functions that are published together under one name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._internal.settings import instance, text
from ..schema import check_name
from .function import JSFunction

__all__ = ["JSService"]


@dataclass(frozen=True)
class JSService:
    """A named group of JavaScript functions. `JavaScriptPortal.apply_service` publishes it.

    Attributes:
        name: its segment in addresses.
        functions: its members; their names must differ.
        version: for documents.
        description: for documents.

    Raises: ConfigError for a member that is not a JSFunction; RegistryError (invalid) for a wrong name.

    Threads: immutable; any thread may use it.
    """

    name: str
    functions: Iterable[JSFunction] = field(default=())
    version: str = "1"
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        text("service.version", self.version)
        instance("service.description", self.description, str, expected="a string")
        members = tuple(instance("service.functions", self.functions, Iterable, expected="JSFunctions"))
        for one in members:
            instance("service.functions", one, JSFunction)
        object.__setattr__(self, "functions", members)

    @staticmethod
    def from_folder(path: str | Path, **options: Any) -> JSService:
        """Return the functions of a folder; the name of the service is that of the folder. Raises ConfigError."""
        return JSService(Path(path).resolve().name, JSFunction.from_folder(path, **options))
