"""Schema: describes and validates data, whatever it was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, Fault, PortalError, ValidationError
from ..errors.failure import is_failure
from .codecs import Codec, generate, plain_test
from .decode_errors import decode_error, encode_error
from .hints import map_hint
from .inline import NO_CONVERSION, Conversion, Shapes, generate_conversion, require_no_signal
from .jsondata import copy_json, shorten
from .strictness import is_scalar
from .validator import Validator

__all__ = ["Schema", "factories"]


#: Functions source -> Schema, or None if the source is not theirs. Modules of other schema libraries add one.
factories: list[Callable[[Any], Schema | None]] = []


class Schema:
    """Validates JSON data, and converts it to native values and back.

    Make one with `Schema.of`.

    Args:
        json: JSON Schema 2020-12 as a dict; do not change it afterwards.
        kind: what it was made from: "hint", "marshmallow" or "json".
        source: the hint, marshmallow schema or dict that it was made from.
        codec: converts to native values and back; None if JSON data is native already.
        formats: whether date-time, date, time, duration, uuid and decimal are validated.

    Attributes:
        accepts: value -> whether it is JSON data that fits. Never raises, whatever the value.
        fits: JSON data -> whether it fits; see `Validator`.
        decode: JSON data that fits -> native value; None if they are the same.
        encode: native value -> JSON data, which then has to be validated; None if they are the same.
        plain: value -> True if it fits, and its native value and JSON data are the same. A fast test for the most
            frequent values of scalar types; a value that does not pass may still fit.
        plain_test: the source text of that test of `{0}`; None if it is always False.

    Raises:
        ConfigError: `json` is not a JSON Schema, or has a reference that leads out of it.

    Threads: immutable; any thread may use it.

    Source: formats are annotations by default in JSON Schema 2020-12 (Validation, section 7.2.1).
    """

    __slots__ = ("_codec", "_conversion", "_validator", "accepts", "decode", "encode", "fits", "formats", "json",
                 "kind", "plain", "plain_test", "source")  # fmt: skip

    accepts: Callable[[Any], bool]
    fits: Callable[[Any], bool]

    def __init__(
        self, json: dict[str, Any], *, kind: str, source: Any, codec: Codec | None = None, formats: bool = True
    ) -> None:
        self.json = json
        self.kind = kind
        self.source = source
        self.decode = None if codec is None else codec.decode
        self.encode = None if codec is None else codec.encode
        self.formats = formats
        self._codec = codec
        self._conversion: Conversion | None = None if kind == "hint" and codec is not None else NO_CONVERSION
        self._validator = Validator(json, formats=formats)
        self.accepts = self._validator.accepts
        self.fits = self._validator.fits
        test = self.plain_test = plain_test(json) if kind in ("hint", "json") else None
        self.plain: Callable[[Any], bool] = (
            _never if test is None else generate(f"codec = lambda value: {test.format('value')}", {})
        )

    @staticmethod
    def of(source: Any, *, formats: bool | None = None) -> Schema:
        """Return the schema of a type hint, a marshmallow schema or a JSON Schema.

        Args:
            source: a hint; a marshmallow class, instance or dict of fields; a JSON Schema dict; or a Schema, which is
                returned unchanged.
            formats: whether formats are validated; by default they are for hints, and not for JSON Schemas.

        Raises:
            ConfigError: the source has no JSON Schema, or is not a valid one.
        """
        if isinstance(source, Schema):
            return source
        for make in factories:
            made = make(source)
            if made is not None:
                return made
        if isinstance(source, bool):
            source = {} if source else {"not": {}}
        if isinstance(source, dict):
            return _from_json_schema(source, bool(formats))
        codec = map_hint(source)
        return Schema(codec.json, kind="hint", source=source, codec=codec, formats=formats is not False)

    def faults(self, value: Any) -> list[Fault]:
        """Return every fault of the value with its path; the list is empty exactly if `accepts` is true."""
        return self._validator.faults(value)

    def load(self, value: Any) -> Any:
        """Validate JSON data and return its native value, with containers copied.

        Raises:
            ValidationError: the data does not fit; it lists every fault.
            FunctionError: user code raised anything but ValueError and TypeError.
        """
        conversion = self._conversion or self._generate()
        decode = self.decode
        if conversion.load is not None:
            try:
                return conversion.load(value)
            except Exception as error:  # the value may fit all the same; what follows decides
                require_no_signal(error)
        if conversion.fits is not None and conversion.fits(value):
            decode = conversion.build
        elif not self.accepts(value):
            raise ValidationError(errors=self.faults(value))
        if decode is None:
            return value
        try:
            return decode(value)
        except BaseException as error:  # decoders call constructors of user classes, which may raise anything
            if not is_failure(error):
                raise
            raise self.decode_error(value, error) from error

    def dump(self, native: Any) -> Any:
        """Return a native value as validated JSON data, with containers copied.

        Raises:
            ValidationError: the value does not fit; it lists every fault.
        """
        conversion = self._conversion or self._generate()
        if conversion.dump is not None:
            try:
                return conversion.dump(native)
            except BaseException as error:  # as in `load`; attributes of user classes may raise anything
                if not is_failure(error):
                    raise
                require_no_signal(error)
        encoded = native
        if self.encode is not None:
            try:
                encoded = self.encode(native)
            except BaseException as error:  # encoders read attributes of user classes, and follow cycles
                if not is_failure(error):
                    raise
                raise encode_error(native, error) from error
        if not self.accepts(encoded):
            raise ValidationError(errors=self.faults(encoded))
        return encoded

    def _generate(self) -> Conversion:
        """Generate the code of the conversion on first use; two threads may both do it, and make the same."""
        assert self._codec is not None
        found = generate_conversion(self._codec, self.formats) if self._validator.strict else NO_CONVERSION
        self._conversion = found
        return found

    def shapes(self) -> Shapes | None:
        """Return what makes the shapes of its parts; None if only the validator of the whole schema can check them."""
        return Shapes(self.formats) if self._validator.strict else None

    def decode_error(self, value: Any, error: BaseException) -> PortalError:
        """Return the error for JSON data that fits and whose decoder raised `error`; it names each failing part."""
        return decode_error(self._codec, value, error)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON Schema as a copy."""
        found: dict[str, Any] = copy_json(self.json)
        return found

    def to_hint(self) -> Any:
        """Return the hint that it was made from, or else the nearest type hint."""
        if self.kind == "hint":
            return self.source
        from .conversion import hint_from_json

        return hint_from_json(self.json)

    def to_marshmallow(self) -> Any:
        """Return the marshmallow schema that it was made from, or else the nearest marshmallow Schema class.

        Raises:
            ConfigError: the schema is not an object.
        """
        if self.kind == "marshmallow":
            return self.source
        from .conversion import marshmallow_from_json

        return marshmallow_from_json(self.json)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return self.kind == other.kind and self.json == other.json

    def __hash__(self) -> int:
        # == ignores the order of members, so the hash must too; the keywords tell most schemas apart
        return hash((self.kind, frozenset(self.json)))

    def __repr__(self) -> str:
        return f"Schema({self.kind}, {shorten(self.json)})"


def _never(value: Any) -> bool:
    return False


def _from_json_schema(source: dict[str, Any], formats: bool) -> Schema:
    json = copy_json(source)
    codec = None if is_scalar(json) else Codec(json, copy_json, copy_json)
    return Schema(json, kind="json", source=source, codec=codec, formats=formats)


def require_object(schema: Schema, subject: str) -> dict[str, Any]:
    """Return the properties of an object schema. Raises ConfigError for another schema; `subject` names it."""
    properties = schema.json.get("properties", {})
    if schema.json.get("type", "object") != "object" or not isinstance(properties, dict):
        raise ConfigError(f"{subject} must be a JSON object with named properties", path="/type", expected="object")
    return properties
