from __future__ import annotations

from typing import Any

import pytest

from portal.errors import AuthorizationError
from portal.http.middleware.base import add_vary, build_http_chain, reject
from portal.http.middleware.cors import CORS
from portal.serving import Request, Response
from tests.support.http_messages import headers_of, request_of, respond_with


class Mark:
    def __init__(self, word: str = "m", order: list[str] | None = None) -> None:
        self.word = word
        self.order: list[str] = [] if order is None else order

    def __call__(self, request: Request, call_next: Any) -> Response:
        self.order.append(self.word)
        response: Response = call_next(request)
        self.order.append(f"/{self.word}")
        return response


def test_the_first_is_outermost() -> None:
    order: list[str] = []
    last = respond_with()
    chain = build_http_chain([Mark("a", order), Mark("b", order), Mark("c", order)], last)
    assert chain(request_of()).status == 200
    assert order == ["a", "b", "c", "/c", "/b", "/a"]
    assert build_http_chain([], last) is last


def test_those_around_one_that_raises_see_a_response() -> None:
    def failing(request: Request, call_next: Any) -> Response:
        raise AuthorizationError("not you")

    layers = [CORS("*"), failing]
    chain = build_http_chain(layers, respond_with(), lambda request, error: reject(request, error))  # type: ignore[arg-type]
    response = chain(request_of(Origin="https://a.example", X_Request_ID="r-1"))
    found = headers_of(response)
    assert (response.status, found["access-control-allow-origin"], found["x-request-id"]) == (403, "*", "r-1")
    with pytest.raises(AuthorizationError):
        build_http_chain(layers, respond_with())(request_of())


@pytest.mark.parametrize(
    ("before", "names", "after"),
    [
        ([], ["Origin"], "Origin"),
        (["Accept"], ["Origin"], "Accept, Origin"),
        (["origin", "Accept, X"], ["Origin", "Y"], "origin, Accept, X, Y"),
        (["*"], ["Origin"], "*"),
    ],
)
def test_names_are_added_to_vary_once(before: list[str], names: list[str], after: str) -> None:
    response = Response(200, [("Vary", value) for value in before])
    add_vary(response, *names)
    assert response.headers == [("Vary", after)]
