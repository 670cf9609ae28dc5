"""Inline: check and convert the values of a whole schema in one generated function, without a call for each part.

Such a function accepts the values that calls mostly have: exact classes, no unknown members. It raises for others. Then
the validator decides, and the codec converts. So a value has the same result and the same report on both ways.

A class whose constructor is generated runs no code of its user. Only then is a value made while the rest of the data is
still being checked. Otherwise the whole data is checked first.

The validator accepts a pattern within a budget of time for a whole value. A schema with patterns is left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors.failure import function_error, is_raised_by_signal
from .codecs import Codec, Converter, generate
from .codecs.record_shapes import FieldShape, load_members
from .codecs.shapes import PartShape, Shape
from .codecs.writer import TooLarge, Writer
from .subschemas import walk
from .validator import Validator

__all__ = ["NO_CONVERSION", "Conversion", "Shapes", "generate_conversion", "parameters_source", "require_no_signal"]


class Conversion(NamedTuple):
    """The generated functions of a schema; None for one that does not exist.

    Attributes:
        load: JSON data -> native value, checked and converted at once. It may raise anything for data that it does not
            accept.
        fits: JSON data -> whether it is certain to fit; takes the place of `load` if constructors run code of a user.
        build: JSON data that `fits` has accepted -> native value. It raises what constructors raise.
        dump: native value -> JSON data that fits. It may raise anything for a value that it does not accept.
    """

    load: Converter | None = None
    fits: Callable[[Any], bool] | None = None
    build: Converter | None = None
    dump: Converter | None = None


NO_CONVERSION = Conversion()


class Shapes:
    """Makes the shapes of codecs. Args: whether formats are validated."""

    def __init__(self, formats: bool) -> None:
        self._formats = formats

    def of(self, codec: Codec) -> Shape:
        """Return the shape of a codec. Raises: TooLarge if only the validator of the whole schema can check a part."""
        if codec.structure is not None:
            return codec.structure(self.of)
        if any(not {"pattern", "patternProperties", "$ref"}.isdisjoint(part) for part in walk(codec.json)):
            raise TooLarge
        return PartShape(Validator(codec.json, formats=self._formats).accepts, codec.decode, codec.encode)


def generate_conversion(codec: Codec, formats: bool) -> Conversion:
    """Return the generated functions for a codec; `NO_CONVERSION` if code for it would be too large.

    Args:
        codec: of a schema that states every type and does not contain itself (`Validator.strict`).
    """
    if codec.structure is None:
        return NO_CONVERSION
    try:
        shape = Shapes(formats).of(codec)
        dump = _function(Writer(), shape.dump)
        if shape.is_pure:
            return Conversion(load=_function(Writer(), shape.load), dump=dump)
        build = _function(Writer(checks=False), shape.load)
        return Conversion(fits=_test(shape), build=build, dump=dump)
    except TooLarge:
        return NO_CONVERSION


def _function(out: Writer, convert: Callable[[Writer, str], str]) -> Converter:
    expression = convert(out, "value")
    return generate(f"def codec(value):\n{out.text}\n return {expression}", out.scope)


def _test(shape: Shape) -> Callable[[Any], bool]:
    out = Writer(builds=False, indent=2)
    shape.load(out, "value")
    return generate(f"def codec(value):\n{_guarded(out)} return True", out.scope)


def _guarded(out: Writer) -> str:
    """Return the lines of a check that ends in `return False` for a value that it does not accept."""
    out.scope["require_no_signal"] = require_no_signal
    return f" try:\n{out.text}\n except Exception as error:\n  require_no_signal(error)\n  return False\n"


def require_no_signal(error: BaseException) -> None:
    """Raise FunctionError for what the handler of a signal raised; the data may be valid."""
    if is_raised_by_signal(error):
        raise function_error(error) from error


def parameters_source(
    fields_of: Callable[[Shapes], tuple[FieldShape, ...]], shapes: Shapes
) -> tuple[str, dict[str, Any]]:
    """Return the beginning of `Parameters.load` as source text, and its constants. It returns if it accepts `params`.

    Returns: no text if code for it would be too large.
    """
    try:
        fields = fields_of(shapes)
        pure = all(field.shape.is_pure for field in fields)
        out = Writer(builds=pure, indent=2)
        found, optional = load_members(out, "params", fields)
        if pure:
            out.line(f"return {_dict_of(found, optional)}")
            out.scope["require_no_signal"] = require_no_signal
            return f" try:\n{out.text}\n except Exception as error:\n  require_no_signal(error)\n", out.scope
        build = Writer(checks=False, indent=3)
        found, optional = load_members(build, "params", fields)
        build.line(f"return {_dict_of(found, optional)}")
    except TooLarge:
        return "", {}
    test = generate(f"def codec(params):\n{_guarded(out)} return True", out.scope)
    source = (
        f" if fits(params):\n  try:\n{build.text}\n  except BaseException as error:\n   slow(params, error)\n   raise\n"
    )
    return source, {**build.scope, "fits": test}


def _dict_of(found: dict[str, str], optional: str | None) -> str:
    members = [f"{name!r}: {expression}" for name, expression in found.items()]
    return f"{{{', '.join(members + ([] if optional is None else [f'**{optional}']))}}}"
