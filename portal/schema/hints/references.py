"""References to classes that contain themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..codecs import Codec

__all__ = ["RecursiveCodec"]


class RecursiveCodec:
    """The codec of a class that is being mapped.

    A use of the class inside itself gets a reference, which `complete` makes usable.
    """

    def __init__(self, name: str, defs: dict[str, Any]) -> None:
        self._name = name
        self._defs = defs
        self._key = ""
        self._reference: Codec | None = None
        self._codec = Codec({})

    def reference(self) -> Codec:
        """Return the codec of a reference to the class, and reserve its place in the definitions."""
        if self._reference is None:
            self._key, count = self._name, 1
            while self._key in self._defs:
                count += 1
                self._key = f"{self._name}{count}"
            self._defs[self._key] = {}
            json = {"$ref": f"#/$defs/{self._key}"}
            self._reference = Codec(json, self._decode, self._encode, (object,), self._children)
        return self._reference

    def complete(self, codec: Codec) -> Codec | None:
        """Set the codec of the class, and return the codec of a reference if there is one."""
        if self._reference is not None:
            self._codec = codec
            self._defs[self._key] = codec.json
        return self._reference

    def _decode(self, value: Any) -> Any:
        decode = self._codec.decode
        return value if decode is None else decode(value)

    def _encode(self, value: Any) -> Any:
        encode = self._codec.encode
        return value if encode is None else encode(value)

    def _children(self, value: Any) -> Iterator[tuple[Any, Codec, Any]]:
        return iter(()) if self._codec.children is None else iter(self._codec.children(value))
