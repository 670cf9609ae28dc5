"""Functions as bytes, from which the workers of a cluster make the same function."""

from __future__ import annotations

import hashlib
import inspect
from functools import lru_cache
from importlib import import_module
from typing import Any

from ..errors import ConfigError
from ..function import Function
from ..function.callable import make_function
from ..function.remote_call import Reference

__all__ = ["Packed", "load_function", "pack_by_name", "pack_function", "pack_unchecked"]

Packed = tuple[str, bytes]  # digest, and the pickled function


def pack_function(function: Function) -> Packed:
    """Return a function as bytes.

    A function of a module that workers can import is sent by name, any other one by value. `__main__` and what is
    defined inside a function cannot be imported.

    Raises: ConfigError for a stream, and for a function that would be another one on a worker.
    """
    name = function.name
    if function.streaming:
        raise ConfigError(f"{name} is a stream, which a cluster cannot carry; publish it over HTTP", path="apply")
    data = pack_unchecked(function)
    try:
        load_function(data)
    except ConfigError:
        raise
    except Exception as error:  # importing code of a user may raise anything
        raise _unsendable(name, error) from error
    return hashlib.sha256(data).hexdigest()[:16], data


def pack_unchecked(function: Function) -> bytes:
    """Return a function as bytes, without an attempt to load them. Raises: ConfigError if it cannot be pickled."""
    by_value = import_module(".by_value", __package__)  # its cloudpickle comes with Dask
    packed = _reference_to(function) or function.target, _options(function), function.schema.fingerprint
    try:
        data: bytes = by_value.pickle_by_value(packed)
    except Exception as error:  # pickling code of a user may raise anything
        raise _unsendable(function.name, error) from error
    return data


def pack_by_name(function: Function) -> bytes | None:
    """Return a function of a module that workers can import as bytes, and None for any other."""
    return None if _reference_to(function) is None else pack_unchecked(function)


def _reference_to(function: Function) -> Reference | None:
    reference = Reference.of(function.target)
    is_sent_by_value = import_module(".by_value", __package__).is_sent_by_value
    return None if reference is None or is_sent_by_value(reference.module) else reference


def _unsendable(name: str, error: Exception) -> ConfigError:
    message = f"{name} cannot be sent to the workers of a cluster: {type(error).__name__}: {error}"
    return ConfigError(message, path="apply", expected="a function of a module that workers can import", cause=error)


def _options(function: Function) -> dict[str, Any]:
    schema, source, options = function.schema, function.parameters.schema.source, function.options
    has_hints = source is function.target or inspect.isroutine(source)  # of the parameters; of a method without `self`
    returns_hint = has_hints if options is None else options.get("output") is None
    return {
        "name": schema.name,
        "version": schema.version,
        "input": None if has_hints else source,
        "output": None if returns_hint else function.output.source,
        "description": schema.description,
        "timeout": schema.timeout,
        "max_body": schema.max_body,
        "idempotent": schema.idempotent,
        "validate_output": function.validate_output,
    }


@lru_cache(maxsize=256)
def load_function(data: bytes) -> Function:
    """Return the function of bytes, made once in each process.

    Raises: ConfigError if it has another schema here; what the import or the unpickling raises.
    """
    target, options, fingerprint = import_module(".by_value", __package__).load_by_value(data)
    found = target.published() if isinstance(target, Reference) else None
    if not isinstance(found, Function) or found.schema.fingerprint != fingerprint:
        found = make_function(target.find() if isinstance(target, Reference) else target, options)
    if found.schema.fingerprint != fingerprint:
        message = f"{found.name} has another schema on the workers of a cluster"
        raise ConfigError(message, path="apply", expected="the same code in every process")
    return found
