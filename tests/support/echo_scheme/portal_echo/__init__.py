"""echo://host:port/name: calls over a socket, a JSON line each way. Enough of a transport to test what a plug-in needs.

A request is `{"name", "params", "timeout"}`. A response is `{"result"}` or `{"error"}` (`to_dict`).
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from portal import (
    Address,
    CallContext,
    CallTimeout,
    FunctionError,
    FunctionSchema,
    PortalError,
    ResolvedFunction,
    Resolver,
    TransportError,
)

__all__ = ["EchoResolver", "EchoServer", "broken"]


class EchoResolver(Resolver):
    """Resolve echo:// addresses."""

    schemes = ("echo",)

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the function at an address. All of them take an object and return it."""
        target = Address.of(address)
        schema = FunctionSchema(target.segments[-1], input={"type": "object", "properties": {"n": {}}}, output={})
        return ResolvedFunction(_Calls(target), schema=schema, address=target)


class _Calls:
    def __init__(self, address: Address) -> None:
        self._address = address
        host, _, port = address.segments[0].rpartition(":")  # only the schemes of Portal's own servers have a host
        self._server = host, int(port)

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        timeout = None if context.deadline is None else max(0.001, context.deadline - monotonic())
        request = {"name": function.name, "params": params, "timeout": timeout}
        try:
            with socket.create_connection(self._server, timeout=timeout) as sock:
                sock.sendall(json.dumps(request).encode() + b"\n")
                with sock.makefile("rb") as lines:
                    response = json.loads(lines.readline())
        except TimeoutError as error:
            raise CallTimeout(f"no response within {timeout} s", address=self._address, cause=error) from error
        except (OSError, ValueError) as error:
            raise TransportError(f"no response: {error}", address=self._address, delivery="unknown") from error
        if "error" in response:
            raise PortalError.from_dict(response["error"])
        return response["result"]

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        raise FunctionError("echo:// has no streams", address=self._address)


class EchoServer:
    """A server of echo://: `echo` returns its parameters, `fail` fails, `hang` does not respond. Use it in `with`."""

    def __init__(self) -> None:
        self._over = threading.Event()
        over = self._over

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                request = json.loads(self.rfile.readline())
                if request["name"] == "hang":
                    over.wait(60)
                    return
                if request["name"] == "fail":
                    response = {"error": FunctionError("out of stock", type="OutOfStock").to_dict()}
                else:
                    response = {"result": request["params"]}
                self.wfile.write(json.dumps(response).encode() + b"\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def base(self) -> str:
        """The address below which its functions are."""
        return f"echo://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> EchoServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def broken() -> object:
    """Stand for a plug-in that fails when it is loaded."""
    raise OSError("the library of this scheme is missing")
