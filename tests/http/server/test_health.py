"""Health checks: their paths, and what they say at each server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import make_server

import flask
import pytest
import requests

from portal import BearerAuth, ConfigError, HTTPPortal, RateLimit, Service, ServingConfig, service
from portal.http import RequestLog, host, mount
from portal.http.server.health import HealthChecks

TIMEOUT = 30
PATHS = ("/health", "/health/live", "/health/ready")


def root(portal: HTTPPortal) -> str:
    return str(portal.base).removesuffix("/api")


def status(url: str, **headers: str) -> int:
    return requests.get(url, headers=headers, timeout=TIMEOUT).status_code


def add(a: int, b: int) -> int:
    return a + b


def health() -> str:
    return "mine"


def test_everybody_may_ask_at_the_root_and_below_the_base_path(tmp_path: object) -> None:
    log = RequestLog(f"{tmp_path}/log")
    protected = HTTPPortal(
        auth=BearerAuth({"token": "ann"}),
        allowed_hosts=["shop.example"],
        middleware=[RateLimit("1/hour")],
        http_middleware=[log],
    )
    with protected as portal:
        portal.apply(add)
        for _ in range(3):
            for path in (*PATHS, *(f"/api{one}" for one in PATHS)):
                response = requests.get(f"{root(portal)}{path}", headers={"Host": "10.0.0.7:8080"}, timeout=TIMEOUT)
                assert (response.status_code, response.json()) == (200, {"status": "up"})
                assert response.headers["Cache-Control"] == "no-store"
        assert requests.head(f"{root(portal)}/health", timeout=TIMEOUT).status_code == 200
        posted = requests.post(f"{root(portal)}/health", timeout=TIMEOUT)
        assert (posted.status_code, posted.headers["Allow"]) == (405, "GET, HEAD")
        assert status(f"{root(portal)}/health/other", Host="shop.example", Authorization="Bearer token") == 404
    with open(f"{tmp_path}/log") as file:
        assert [line for line in file if '"/health"' in line] == []


def test_it_is_not_ready_while_it_drains_and_live_until_it_stops() -> None:
    with HTTPPortal() as portal:
        portal.prepare_stop()
        for path in ("/health", "/health/ready", "/api/health/ready"):
            response = requests.get(f"{root(portal)}{path}", timeout=TIMEOUT)
            assert (response.status_code, response.json()) == (503, {"status": "down", "reason": "stopping"})
        assert status(f"{root(portal)}/health/live") == 200
        assert requests.post(str(portal.apply(add)), json={"a": 1, "b": 2}, timeout=TIMEOUT).text == "3"


def test_a_failed_service_is_not_ready() -> None:
    @service(name="shop")
    class Shop:
        def on_start(self) -> None:
            raise OSError("no database")

    with HTTPPortal() as portal:
        with pytest.raises(OSError, match="no database"):
            portal.apply_service(Shop)
        assert status(f"{root(portal)}/health/ready") == 200, "it is not published"
        group = portal._services["shop"] = Service.of(Shop())
        with pytest.raises(OSError, match="no database"):
            group.start()
        response = requests.get(f"{root(portal)}/health/ready", timeout=TIMEOUT)
        assert (response.status_code, response.json()["reason"]) == (503, "a service has failed")
        assert status(f"{root(portal)}/health/live") == 200


def test_checks_do_not_wait_for_a_worker() -> None:
    entered, released = threading.Semaphore(0), threading.Event()

    def hold() -> bool:
        entered.release()
        return released.wait(TIMEOUT)

    config = ServingConfig(workers=2, queue=1, max_running_per_function=2, max_running_per_client=2)
    with HTTPPortal(config=config) as portal:
        address = str(portal.apply(hold))
        callers = [threading.Thread(target=requests.post, args=(address,), kwargs={"json": {}}) for _ in range(2)]
        for caller in callers:
            caller.start()
            assert entered.acquire(timeout=TIMEOUT)
        try:
            for path in PATHS:
                assert status(f"{root(portal)}{path}") == 200
        finally:
            released.set()
            for caller in callers:
                caller.join()


@pytest.mark.parametrize(("base", "expected"), [("/api", b'"mine"'), ("", b'"mine"')])
def test_a_function_of_that_name_has_precedence_below_the_base_path(base: str, expected: bytes) -> None:
    with HTTPPortal(base_path=base) as portal:
        url = str(portal.base).removesuffix("/api").removesuffix("/")
        assert status(f"{url}{base}/health") == 200
        portal.apply(health)
        assert requests.post(f"{url}{base}/health", json={}, timeout=TIMEOUT).content == expected
        described = requests.get(f"{url}{base}/health", timeout=TIMEOUT).json()
        assert described["name"] == "health"
        if base:
            assert requests.get(f"{url}/health", timeout=TIMEOUT).json() == {"status": "up"}


def test_the_path_may_be_another_one_or_none() -> None:
    with HTTPPortal(health_path="/-/state") as portal:
        assert portal.health_path == "/-/state"
        assert status(f"{root(portal)}/-/state/ready") == 200
        assert status(f"{root(portal)}/health") == 404
    app = flask.Flask("shop")
    app.add_url_rule("/health", "health", lambda: "of the application")
    with host(HTTPPortal(health_path=None), app) as portal:
        assert requests.get(f"{root(portal)}/health", timeout=TIMEOUT).text == "of the application"
        assert status(f"{root(portal)}/api/health") == 404
    with pytest.raises(ConfigError, match=r"http\.health_path"):
        HTTPPortal(health_path="health")


@contextmanager
def wsgi_server(application: object) -> Iterator[str]:
    with make_server("127.0.0.1", 0, application) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("listen", [True, False])
def test_under_a_wsgi_server(listen: bool) -> None:
    portal = HTTPPortal(listen=listen, port=0, auth=BearerAuth({"token": "ann"}))
    with wsgi_server(portal.wsgi) as url:
        for path in (*PATHS, *(f"/api{one}" for one in PATHS)):
            assert status(f"{url}{path}") == 200
        portal.close()
        assert requests.get(f"{url}/health/ready", timeout=TIMEOUT).json() == {"status": "down", "reason": "closed"}
        assert status(f"{url}/health/live") == 200


def test_mounted_in_flask() -> None:
    app = flask.Flask("shop")
    portal = HTTPPortal(listen=False)
    app.wsgi_app = mount(app.wsgi_app, portal.wsgi)  # type: ignore[method-assign,assignment]
    client = app.test_client()
    assert client.get("/api/health/ready").status_code == 200
    assert client.get("/health/ready").status_code == 404, "the root is that of the application"
    portal.close()


def test_the_paths() -> None:
    checks = HealthChecks("/health", "/api", lambda: None, lambda name: name == "health")
    assert checks.root_paths == {"/health", "/health/live", "/health/ready"}
    assert checks.find("/health") is not None
    assert checks.find("/api/health") is None
    assert HealthChecks("/health", "", lambda: None, lambda name: False).root_paths == frozenset()
    nothing = HealthChecks(None, "/api", lambda: None, lambda name: False)
    assert (nothing.find("/health"), nothing.find("/api"), nothing.find("/api/health")) == (None, None, None)
