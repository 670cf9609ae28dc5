"""Read and write the file of a recording.

The file is JSON: `{"version": 1, "functions": {address: schema}, "calls": [call, ...]}`. A call holds "address",
"params", "duration" in seconds, and its outcome: "result", "items" of a stream, "error", or "items" and "error". A
stream that was not read to its end has `"partial": true`.

Calls are sorted by address and parameters, so that equal calls write an equal file but for the durations. Only its
owner may read a new file, since it holds parameters and results as they were.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from .._internal.settings import file_path
from ..errors import PortalError, SerializationError
from ..schema import FunctionSchema

__all__ = ["FilePath", "error_as_json", "params_key", "read_recording", "recording_path", "write_recording"]

FilePath: TypeAlias = str | os.PathLike[str]
_VERSION = 1
_OWNER_ONLY = 0o600


def recording_path(path: FilePath) -> Path:
    """Return the path of a recording.

    Raises: ConfigError for a value that is not a path.
    """
    return Path(file_path("recording.path", path))


def params_key(params: Any) -> str:
    """Return text that is equal for equal parameters in any order of their names."""
    return json.dumps(params, sort_keys=True, ensure_ascii=False, default=repr)


def error_as_json(error: PortalError) -> dict[str, Any]:
    """Return the error as JSON data without the request id, which differs at every replay."""
    data = error.to_dict()
    context = {name: value for name, value in data.pop("context", {}).items() if name != "request_id"}
    return {**data, "context": context} if context else data


def write_recording(path: Path, functions: Mapping[str, Any], calls: Iterable[dict[str, Any]]) -> None:
    """Replace the file as a whole, or leave it unchanged.

    Args:
        functions: schemas as JSON data, by address.
        calls: in the order they were made; equal ones keep it.

    Raises: SerializationError for a result that is not JSON data (its function's output is not validated).
    """
    rows = sorted(calls, key=lambda call: (call["address"], params_key(call["params"])))
    data = {"version": _VERSION, "functions": dict(functions), "calls": rows}
    try:
        text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SerializationError(f"a result recorded for {path.name} is not JSON data: {error}") from error
    # JSON has an escape for a lone surrogate in the text of an error.
    _replace(path, (text + "\n").encode("utf-8", "backslashreplace"))


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, _OWNER_ONLY)) as file:
            file.write(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_recording(path: Path) -> tuple[dict[str, FunctionSchema], list[dict[str, Any]]]:
    """Return the schemas by address, and the calls.

    Raises: SerializationError for a file that is not a recording, OSError for one that cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{path.name} is not a recording: {error}") from None
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise SerializationError(f"{path.name} is not a recording of version {_VERSION}")
    functions, calls = data.get("functions"), data.get("calls")
    if not isinstance(functions, dict) or not isinstance(calls, list):
        raise SerializationError(f'{path.name} is not a recording: "functions" or "calls" is missing')
    for number, call in enumerate(calls):
        if not _is_call(call, functions):
            raise SerializationError(f"{path.name} is not a recording: call {number} is incomplete")
    return {address: FunctionSchema.from_dict(schema) for address, schema in functions.items()}, calls


def _is_call(call: Any, functions: Mapping[str, Any]) -> bool:
    if not isinstance(call, dict) or not isinstance(call.get("params"), dict) or call.get("address") not in functions:
        return False
    if not isinstance(call.get("error", {}), dict) or not isinstance(call.get("items", []), list):
        return False
    return not call.keys().isdisjoint({"result", "error", "items"})
