"""Fixtures: a directory with modules to serve, a served example, and an address where nothing listens."""

from __future__ import annotations

import gc
import socket
import sys

import pytest

from portal import HTTPPortal
from portal.cli import serve as serve_module
from portal.examples.orders import service

TARGETS = '''
import gc
import signal
import threading
from portal import ApiKeyAuth, BearerAuth, Function, HTTPPortal, JWTAuth, LocalPortal, Service, function, service

def plain(a: int = 1) -> int:
    """A plain callable."""
    return a

made = function(plain)

def frozen() -> int:
    return gc.get_freeze_count()

@service(name="shop")
class Shop:
    def open(self) -> bool:
        return True

    def on_stop(self):
        print("stopping", flush=True)

@service(name="stock")
class Stock:
    def __init__(self, database):
        self.database = database

    def level(self, sku: str) -> int:
        return 3

instance = Shop()
ready = Service.of(Shop)
local = LocalPortal()
local.apply(plain)
http = HTTPPortal(base_path="/other")
http.apply_service(Shop)
number = 3
missing = None
none = []
key = ApiKeyAuth({"k3y": "reports"})
keys = [key, BearerAuth({"t0ken": "ann"})]
jwt = JWTAuth(key="k" * 32, algorithms=["HS256"], audience="things")

@service
class Signalled:
    def stop(self, number: int) -> None:
        """Send the signal to this thread, which is not the main one."""
        signal.pthread_kill(threading.get_ident(), number)

    def on_stop(self):
        print("stopping", flush=True)

@service
class Stubborn:
    """Does not stop at the first signal."""

    def on_stop(self):
        print("stopping", flush=True)
        threading.Event().wait()
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory with a module `served_things`."""
    (tmp_path / "served_things.py").write_text(TARGETS)
    (tmp_path / "broken_things.py").write_text("1 / 0")
    (tmp_path / "ending_things.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("served_things", None)


@pytest.fixture
def stopped(monkeypatch):
    """Stop serving as soon as the addresses are printed."""

    class Stopped:
        def __init__(self, on_hangup):
            assert callable(on_hangup)

        def wait(self, timeout=None):
            return True

    monkeypatch.setattr(serve_module, "StopSignals", Stopped)
    yield
    gc.unfreeze()  # the process of the tests goes on


@pytest.fixture(scope="module")
def base():
    with HTTPPortal() as http:
        http.apply_service(service)
        yield str(http.base)


@pytest.fixture
def dead():
    """An address where nothing listens: the port is bound, but not listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}/api/add"
