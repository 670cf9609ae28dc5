from __future__ import annotations

from typing import Any

import pytest

from portal.errors import AuthorizationError, ConfigError
from portal.http.middleware.base import When, add_vary, build_http_chain, refusal
from portal.http.middleware.cors import CORS
from portal.serving import Request, Response
from tests.support.http_messages import answers, headers_of, request_of


class Mark:
    def __init__(self, word: str = "m", order: list[str] | None = None) -> None:
        self.word = word
        self.order: list[str] = [] if order is None else order

    def __call__(self, request: Request, call_next: Any) -> Response:
        self.order.append(self.word)
        response: Response = call_next(request)
        self.order.append(f"/{self.word}")
        return response

    def close(self) -> None:
        self.order.append("closed")


def test_the_first_is_outermost() -> None:
    order: list[str] = []
    last = answers()
    chain = build_http_chain([Mark("a", order), Mark("b", order), Mark("c", order)], last)
    assert chain(request_of()).status == 200
    assert order == ["a", "b", "c", "/c", "/b", "/a"]
    assert build_http_chain([], last) is last


def test_those_around_one_that_raises_see_a_response() -> None:
    def failing(request: Request, call_next: Any) -> Response:
        raise AuthorizationError("not you")

    layers = [CORS("*"), failing]
    chain = build_http_chain(layers, answers(), lambda request, error: refusal(request, error))  # type: ignore[arg-type]
    response = chain(request_of(Origin="https://a.example", X_Request_ID="r-1"))
    found = headers_of(response)
    assert (response.status, found["access-control-allow-origin"], found["x-request-id"]) == (403, "*", "r-1")
    with pytest.raises(AuthorizationError):
        build_http_chain(layers, answers())(request_of())


ANY: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("condition", "target", "applies"),
    [
        ({"path": "/api/add"}, "/api/add", True),
        ({"path": "/api/add"}, "/api/add?x=1", True),
        ({"path": "/api/add"}, "/api/add/", True),
        ({"path": "/api/add/"}, "/api/add", True),
        ({"path": "/api/add"}, "/api/add/3f2a9c51", True),
        ({"path": "/api/add"}, "/api/add@2", True),
        ({"path": "/api/add"}, "/api/add%402", True),
        ({"path": "/api/add"}, "/api//add", True),
        ({"path": "/api/add"}, "//api/%61dd", True),
        ({"path": "/api/add"}, "/api/adder", False),
        ({"path": "/api/add"}, "/api/ADD", False),
        ({"path": "/api/add"}, f"/api/add/{'x' * 300}", True),
        ({"path": "/"}, "/anything", True),
        ({"path": "/"}, "/", True),
        ({"path": "/api/a*"}, "/api/add", True),
        ({"path": "/api/*d"}, "/api/add/3f2a9c51", True),
        ({"path": "/api/*d"}, "/api/adds", False),
        ({"path": "*/add"}, "/api/users/add@1", True),
        ({"path": "/api/[ab]dd"}, "/api/cdd", False),
        ({"function": "add"}, "/api/add", True),
        ({"function": "add"}, "/api/%61dd@1", True),
        ({"function": "add"}, "/api/sums/add/3f2a9c51", True),
        ({"function": "add"}, "/api/add/x/y", False),
        ({"function": "add"}, "/api/adder", False),
        ({"function": "add"}, "/", False),
        ({"method": "post"}, "/api/add", True),
        ({"method": "GET"}, "/api/add", False),
        ({"predicate": lambda request: request.peer == "192.0.2.7"}, "/", True),
        ({"path": "/api", "predicate": lambda request: False}, "/api", False),
    ],
)
def test_conditions(condition: dict[str, Any], target: str, applies: bool) -> None:
    mark = Mark()
    response = build_http_chain([When(mark, **condition)], answers())(request_of(target=target))
    assert response.status == 200
    assert mark.order == (["m", "/m"] if applies else [])


@pytest.mark.parametrize(
    ("middleware", "condition", "path"),
    [
        ("log", {"path": "/"}, "when.middleware"),
        (Mark(), {}, "when.condition"),
        (Mark(), {"path": "api"}, "when.path"),
        (Mark(), {"path": ""}, "when.path"),
        (Mark(), {"function": 3}, "when.function"),
        (Mark(), {"method": ""}, "when.method"),
        (Mark(), {"predicate": True}, "when.predicate"),
    ],
)
def test_wrong_conditions(middleware: Any, condition: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        When(middleware, **condition)
    assert caught.value.path == path


def test_it_closes_what_it_holds() -> None:
    mark = Mark()
    When(mark, path="/").close()
    assert mark.order == ["closed"]
    When(lambda request, call_next: call_next(request), path="/").close()


@pytest.mark.parametrize(
    ("before", "names", "after"),
    [
        ([], ["Origin"], "Origin"),
        (["Accept"], ["Origin"], "Accept, Origin"),
        (["origin", "Accept, X"], ["Origin", "Y"], "origin, Accept, X, Y"),
        (["*"], ["Origin"], "*"),
    ],
)
def test_vary(before: list[str], names: list[str], after: str) -> None:
    response = Response(200, [("Vary", value) for value in before])
    add_vary(response, *names)
    assert response.headers == [("Vary", after)]
