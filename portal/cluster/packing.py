"""Functions as bytes, from which the workers of a cluster make the same function."""

from __future__ import annotations

import hashlib
import pickle
from functools import lru_cache
from importlib import import_module
from typing import Any

from ..errors import ConfigError
from ..function import Function
from ..function.callable import make_function
from ..function.remote_call import Reference

__all__ = ["Packed", "load_function", "pack_function"]

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
    reference = Reference.of(function.target)
    by_name = reference is not None and reference.module != "__main__"
    try:
        target = reference if by_name else _pickled(function.target)
        data = pickle.dumps((target, _options(function), function.schema.fingerprint), pickle.HIGHEST_PROTOCOL)
        there = load_function(data)
    except ConfigError:
        raise
    except Exception as error:  # pickling and importing code of a user may raise anything
        message = f"{name} cannot be sent to the workers of a cluster: {type(error).__name__}: {error}"
        raise ConfigError(message, path="apply", expected="a function of a module that workers can import") from error
    if there.schema.fingerprint != function.schema.fingerprint:
        message = f"{name} would have another schema on the workers of a cluster"
        raise ConfigError(message, path="apply", expected="a function of a module that workers can import")
    return hashlib.sha256(data).hexdigest()[:16], data


def _pickled(target: Any) -> bytes:
    data: bytes = import_module("cloudpickle").dumps(target)  # comes with Dask
    return data


def _options(function: Function) -> dict[str, Any]:
    schema = function.schema
    given = function.parameters.schema.source is not function.target
    return {
        "name": schema.name,
        "version": schema.version,
        "input": schema.input if given else None,
        "output": schema.output if given else None,
        "description": schema.description,
        "timeout": schema.timeout,
        "max_body": schema.max_body,
        "idempotent": schema.idempotent,
        "validate_output": function.validate_output,
    }


@lru_cache(maxsize=256)
def load_function(data: bytes) -> Function:
    """Return the function of bytes, made once in each process. Raises: what the import or the unpickling raises."""
    target, options, fingerprint = pickle.loads(data)
    if not isinstance(target, Reference):
        return make_function(pickle.loads(target), options)
    found = target.published()
    if isinstance(found, Function) and found.schema.fingerprint == fingerprint:
        return found
    return make_function(target.find(), options)
