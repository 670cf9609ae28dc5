"""Peers that are programs of their own: granian, which runs an application in Rust, and nginx.

Each one runs in a process group, so that its own workers end with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

__all__ = ["find_program", "granian", "nginx"]

_START_SECONDS = 15.0
_STOP_SECONDS = 3.0
_NGINX = """
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen 127.0.0.1:{port} reuseport;
        location /add {{ default_type application/json; return 200 "4.0"; }}
    }}
}}
"""


def find_program(name: str) -> str | None:
    """Return the path of a program, which Debian may keep in /usr/sbin; None when it is not installed."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))


@contextmanager
def granian(*options: str, tls: bool = False) -> Iterator[str]:
    """Run `falcon_app` in granian with one worker for the length of a `with` block; gives its URL."""
    port = _free_port()
    if tls:
        from .certificate import certificate_files

        files = certificate_files()
        options = (*options, "--ssl-certificate", str(files.chain), "--ssl-keyfile", str(files.pkcs8_key))
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "1", "--no-ws", "--http", "1"]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "error",
        *options,
        "benchmarks.falcon_app:app",
    ]
    with _running(command, port):
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/add"


@contextmanager
def nginx() -> Iterator[str]:
    """Run nginx, a worker for each processor, for the length of a `with` block; gives the URL of a constant."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "nginx.conf")
        settings.write_text(_NGINX.format(folder=folder, port=port))
        with _running([find_program("nginx") or "nginx", "-p", folder, "-c", str(settings)], port):
            yield f"http://127.0.0.1:{port}/add"


def _free_port() -> int:
    """Return a port that is free now; these programs cannot say which one they have chosen."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for(process, port)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # workers that are left
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the program accepts connections; RuntimeError when it does not."""
    give_up = monotonic() + _START_SECONDS
    while process.poll() is None and monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args[0]} did not start")  # type: ignore[index]
