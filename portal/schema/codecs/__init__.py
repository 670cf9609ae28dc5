"""Codecs: the JSON Schema of a type hint, a decoder to native values and an encoder back."""

from __future__ import annotations

from .codec import Codec, Converter, Unencodable, any_codec, generate, map_source, plain_test, type_name

__all__ = ["Codec", "Converter", "Unencodable", "any_codec", "generate", "map_source", "plain_test", "type_name"]
