"""Count the Python frames that one HTTP call passes through: `python -m benchmarks.frames [CHECKOUT]`.

On the server, the frames from the loop of the serving thread to the user's function count. On the client, the frames
from `Consumer.call_at` to the send of the socket count. Frames of the standard library below them do not.

CHECKOUT is the root of another checkout of Portal; the default is this one.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

__all__ = ["client_frames", "main", "server_frames"]

_ROOT = Path(__file__).parents[1]
_CALLS = 200
_SENDS = ("send", "sendall", "sendmsg")

Codes = tuple[CodeType, ...]
Frames = tuple[str, ...]


def _stack(frame: FrameType | None) -> Codes:
    """Return the code of `frame` and of all frames that called it, the innermost first.

    It is fast: a call that takes long is not served by the thread that reads the connections.
    """
    codes = []
    while frame is not None:
        codes.append(frame.f_code)
        frame = frame.f_back
    return tuple(codes)


def _names(codes: Codes, package: Path) -> Frames:
    """Return the names of the frames that run code of `package`, the outermost first."""
    found = []
    for code in reversed(codes):
        path = Path(code.co_filename)
        if path.is_relative_to(package):
            module = ".".join(path.relative_to(package).with_suffix("").parts)
            found.append(f"{module}:{code.co_qualname}")
    return tuple(found)


def server_frames(calls: int = _CALLS) -> tuple[Frames, Frames]:
    """Return the frames above the user's function in the first call, and the most common frames in later calls.

    A worker serves the first call. The thread that reads the connections serves later calls, as they are short.
    """
    import portal
    from portal import Consumer, HTTPPortal

    package = Path(portal.__file__).parent
    stacks: list[Codes] = []

    def add(a: float, b: float) -> float:
        stacks.append(_stack(sys._getframe(1)))
        return a + b

    with HTTPPortal() as server, Consumer() as consumer:
        address = str(server.apply(add))
        for _ in range(calls):
            consumer.call_at(address, {"a": 1.5, "b": 2.5})
    usual = Counter(stacks[1:]).most_common(1)[0][0]
    return _names(stacks[0], package), _names(usual, package)


def client_frames() -> tuple[Frames, Frames]:
    """Return the frames from `call_at` to the send of the socket, for the first and for the third call."""
    import portal
    from portal import Consumer, HTTPPortal

    package = Path(portal.__file__).parent

    def add(a: float, b: float) -> float:
        return a + b

    with HTTPPortal() as server, Consumer() as consumer:
        address = str(server.apply(add))
        sends = []
        for _ in range(3):
            with _recorded_sends() as stacks:
                consumer.call_at(address, {"a": 1.5, "b": 2.5})
            sends.append(stacks)
    return _names(sends[0][0], package), _names(sends[2][0], package)


@contextmanager
def _recorded_sends() -> Iterator[list[Codes]]:
    """Record the frames above each send of this thread for the length of a `with` block."""
    stacks: list[Codes] = []
    thread = threading.get_ident()

    def recorded(send: Callable[..., Any]) -> Callable[..., Any]:
        def method(*args: Any) -> Any:
            if threading.get_ident() == thread:
                stacks.append(_stack(sys._getframe(1)))
            return send(*args)

        return method

    originals = {name: getattr(socket.socket, name) for name in _SENDS}
    for name, send in originals.items():
        setattr(socket.socket, name, recorded(send))
    try:
        yield stacks
    finally:
        for name in originals:
            delattr(socket.socket, name)  # the methods are those of the base class again


def _report() -> None:
    first, later = server_frames()
    _print("Server, first call, in a worker", first)
    _print("Server, later calls", later)
    first, later = client_frames()
    _print("Client, first call", first)
    _print("Client, later calls", later)


def _print(title: str, frames: Frames) -> None:
    print(f"{title}: {len(frames)} frames")
    print("\n".join(f"{number:4d}  {name}" for number, name in enumerate(frames, 1)), end="\n\n", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Print the frames of one call in a checkout."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", nargs="?", type=Path, default=_ROOT, help="root of a checkout (default: this one)")
    checkout: Path = parser.parse_args(arguments).checkout.resolve()
    if not (checkout / "portal" / "__init__.py").is_file():
        parser.error(f"CHECKOUT must be the root of a checkout of Portal, got {checkout}")
    # -P: this folder must not come before the checkout's packages
    command = [sys.executable, "-P", __file__, "--here"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.run(command, env=environment, cwd=checkout, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        _report()
    else:
        sys.exit(main())
