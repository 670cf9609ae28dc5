"""curl, Node's fetch and headless Chromium talk to a portal. Each is skipped only where its program is absent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import BearerAuth, HTTPPortal
from portal.http import CORS
from portal.serving import Request, Response

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def add(a: float, b: float) -> float:
    return a + b


def ticks(count: int) -> Iterator[int]:
    yield from range(count)


def run(*command: str, timeout: float = 60) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_calls_functions(tmp_path: Path) -> None:
    with HTTPPortal() as portal:
        address, stream = str(portal.apply(add)), str(portal.apply(ticks))
        body = tmp_path / "body.json"
        body.write_text('{"a":1,"b":2}')
        base = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "-H", "Content-Type: application/json"]
        assert run(*base, "--json", '{"a":1,"b":2}', address) == "3.0"
        assert run(*base, "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{body}", address) == "3.0"
        assert run(*base, "-H", "Expect: 100-continue", "--data-binary", f"@{body}", address) == "3.0"
        assert run(*base, "--http1.0", "--json", '{"a":1,"b":2}', address) == "3.0"
        assert run(*base, "-N", "-d", '{"count":3}', stream).split() == ["0", "1", "2"]
        assert run(*base, "-o", "/dev/null", "-w", "%{http_code}", "-I", address) == "200"
        assert run(*base, "-o", "/dev/null", "-w", "%{http_code}", "--json", "{}", address) == "422"


NODE = """
const [address, stream] = process.argv.slice(1);
const call = (url, body, more = {}) => fetch(url, {method: "POST", body: JSON.stringify(body), ...more,
  headers: {"content-type": "application/json", ...(more.headers || {})}});
(async () => {
  const sums = await Promise.all([...Array(20).keys()].map(async n => (await call(address, {a: n, b: 1})).json()));
  const rejected = await call(address, {a: "1", b: 2});
  const lines = (await (await call(stream, {count: 3})).text()).trim().split("\\n").map(Number);
  const events = await (await call(stream, {count: 2}, {headers: {accept: "text/event-stream"}})).text();
  const problem = await rejected.json();
  console.log(JSON.stringify({sums, status: rejected.status, path: problem.errors[0].path, lines, events}));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_fetch_of_node_calls_functions() -> None:
    with HTTPPortal() as portal:
        result = json.loads(run("node", "-e", NODE, str(portal.apply(add)), str(portal.apply(ticks))))
    assert result["sums"] == [number + 1 for number in range(20)]
    assert (result["status"], result["path"], result["lines"]) == (422, "/a", [0, 1, 2])
    assert result["events"].split() == ["data:", "0", "data:", "1", "event:", "complete", "data:", "null"]


class Page:
    """An app that serves one page of HTML."""

    def __init__(self, html: str) -> None:
        self.html = html

    def handle(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], self.html.encode())


def browse(url: str, profile: Path) -> str:
    assert CHROMIUM is not None
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        " --disable-component-update --disable-sync --virtual-time-budget=8000 --dump-dom"
    )
    return run(CHROMIUM, *flags.split(), f"--user-data-dir={profile}", url, timeout=120)


SCRIPT = """<!doctype html><title>cases</title><pre id="out"></pre><script>
const cases = CASES, found = {};
const one = async ([name, url, options]) => {
  try {
    const response = await fetch(url, {method: "POST", body: '{"a":1,"b":2}', ...options,
      headers: {"content-type": "application/json", ...(options.headers || {})}});
    found[name] = [response.status, (response.headers.get("x-request-id") || "") !== "", await response.json()];
  } catch (error) { found[name] = [String(error.name)]; }
};
Promise.all(cases.map(one)).then(() => { document.getElementById("out").textContent = JSON.stringify(found); });
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_chromium_applies_cors(tmp_path: Path) -> None:
    """Pages of one origin call functions of others: what is let through, and what the browser holds back."""
    with HTTPPortal() as pages:
        origin = f"http://127.0.0.1:{pages.port}"
        tokens = BearerAuth({"t0ken": "ann"})
        portals = {
            "open": HTTPPortal(http_middleware=[CORS("*")]),
            "named": HTTPPortal(http_middleware=[CORS([origin], credentials=True)]),
            "other": HTTPPortal(http_middleware=[CORS(["https://shop.example"])]),
            "without": HTTPPortal(),
            "protected": HTTPPortal(auth=tokens, http_middleware=[CORS([origin])]),
            "narrow": HTTPPortal(auth=tokens, http_middleware=[CORS([origin], headers=["content-type"])]),
            "hidden": HTTPPortal(http_middleware=[CORS([origin], expose=[])]),
        }
        try:
            at = {name: str(portal.apply(add)) for name, portal in portals.items()}
            here = str(pages.apply(add))
            for portal in portals.values():
                portal.start()
            bearer = {"headers": {"authorization": "Bearer t0ken"}}
            cases = [
                ["same origin", here, {}],
                ["any origin", at["open"], {}],
                ["any origin, with credentials", at["open"], {"credentials": "include"}],
                ["named origin", at["named"], {}],
                ["named origin, with credentials", at["named"], {"credentials": "include"}],
                ["another origin", at["other"], {}],
                ["no CORS", at["without"], {}],
                ["protected, with a token", at["protected"], bearer],
                ["protected, without", at["protected"], {}],
                ["header that is not allowed", at["narrow"], bearer],
                ["header that is not exposed", at["hidden"], {}],
            ]
            pages.listener.mount("/page", Page(SCRIPT.replace("CASES", json.dumps(cases))))
            text = browse(f"{origin}/page", tmp_path / "profile")
        finally:
            for portal in portals.values():
                portal.close()
    shown = re.search(r'<pre id="out">(.*?)</pre>', text, re.DOTALL)
    assert shown is not None
    found = json.loads(shown[1].replace("&quot;", '"').replace("&amp;", "&"))
    rejected = found.pop("protected, without")
    assert (rejected[0], rejected[2]["code"]) == (401, "authentication_error")
    good, held_back = [200, True, 3], ["TypeError"]
    assert found == {
        "same origin": good,
        "any origin": good,
        "any origin, with credentials": held_back,
        "named origin": good,
        "named origin, with credentials": good,
        "another origin": held_back,
        "no CORS": held_back,
        "protected, with a token": good,
        "header that is not allowed": held_back,
        "header that is not exposed": [200, False, 3],
    }
