"""Generated code that loads the parameters of a call: validates them, decodes them and fills in defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ValidationError
from ..errors.failure import is_failure
from .codecs import Converter, generate, plain_test
from .codecs.record_shapes import FieldShape
from .inline import Shapes, parameters_source
from .schema import Schema

__all__ = ["generate_load", "if_plain", "plain_tests"]


def plain_tests(schema: Schema, names: tuple[str, ...]) -> tuple[str, ...] | None:
    tests = [plain_test(schema.json.get("properties", {}).get(name)) for name in names]
    found = tuple(test for test in tests if test is not None)
    return found if len(found) == len(names) else None


def if_plain(tests: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return source text that ends in an `if`: `params` is a dict of exactly these names, and every value passes.

    The body, indented by two spaces, finds the values in value0, value1, and so on.
    """
    values = "".join(f"   value{index} = params[{name!r}]\n" for index, name in enumerate(names))
    fit = " and ".join(test.format(f"value{index}") for index, test in enumerate(tests)) or "True"
    return (
        f" fits = False\n if params.__class__ is dict and len(params) == {len(names)}:\n"
        f"  try:\n{values}   fits = {fit}\n  except KeyError:\n   fits = False\n if fits:\n"
    )


def generate_load(
    schema: Schema,
    names: tuple[str, ...],
    defaults: Mapping[str, Any],
    decoders: Mapping[str, Converter | None],
    tests: tuple[str, ...] | None,
    absent: frozenset[str],
    fields: Callable[[Shapes], tuple[FieldShape, ...]] | None = None,
) -> Callable[[Any], dict[str, Any]]:
    """Generate `Parameters.load`: one test of the whole object, then one expression for each parameter.

    Args:
        fields: returns the shapes of the parameters; None without codecs.
    """
    scope: dict[str, Any] = {"accepts": schema.accepts, "slow": _slow_load(schema)}
    members, optional = [], []
    for index, name in enumerate(names):
        scope[f"decode{index}"] = decoders[name]
        got = f"params[{name!r}]" if decoders[name] is None else f"decode{index}(params[{name!r}])"
        if name in defaults:
            scope[f"default{index}"] = defaults[name]
            got += f" if {name!r} in params else default{index}"
        if name in absent:
            optional.append(f"  if {name!r} in params:\n   found[{name!r}] = {got}\n")
        else:
            members.append(f"{name!r}: {got}")
    unchanged = ", ".join(f"{name!r}: value{index}" for index, name in enumerate(names))
    fast_path = "" if tests is None else f"{if_plain(tests, names)}  return {{{unchanged}}}\n"
    shapes = schema.shapes()
    if tests is None and fields is not None and shapes is not None:
        fast_path, constants = parameters_source(fields, shapes)
        scope |= constants
    source = (
        f"def codec(params):\n{fast_path}"
        " if not accepts(params):\n  params = slow(params, None)\n"
        f" try:\n{_returned(members, optional)} except BaseException as error:\n  slow(params, error)\n  raise"
    )
    return generate(source, scope)


def _returned(members: list[str], optional: list[str]) -> str:
    """Return source text that returns a dict of the members, and of the optional ones that are there."""
    made = f"{{{', '.join(members)}}}"
    return f"  found = {made}\n{''.join(optional)}  return found\n" if optional else f"  return {made}\n"


def _slow_load(schema: Schema) -> Callable[[Any, BaseException | None], Any]:
    """Return what generated code calls off its fast path.

    For rejected parameters it returns a dict that fits, if the parameters are another Mapping, or raises
    ValidationError. For what a decoder raised it raises the error to send, or returns if there is none.
    """

    def slow(params: Any, error: BaseException | None) -> Any:
        if error is not None:
            if not is_failure(error):
                return None
            raise schema.decode_error(params, error) from error
        if isinstance(params, Mapping) and type(params) is not dict:
            params = dict(params)
            if schema.accepts(params):
                return params
        raise ValidationError(errors=schema.faults(params))

    return slow
