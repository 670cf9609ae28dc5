"""OriginCheck: which web pages may connect."""

from __future__ import annotations

import pytest

from portal import ConfigError
from portal.websocket.server.origins import OriginCheck


@pytest.mark.parametrize(
    ("origin", "host", "secure", "accepted"),
    [
        (None, "a.example", False, True),
        ("http://a.example", "a.example", False, True),
        ("http://A.example", "a.EXAMPLE", False, True),
        ("http://a.example:80", "a.example", False, True),
        ("http://a.example", "a.example:80", False, True),
        ("https://a.example", "a.example:443", True, True),
        ("http://[::1]:8080", "[::1]:8080", False, True),
        ("https://a.example", "a.example", False, False),
        ("http://a.example", "a.example", True, False),
        ("http://a.example:8080", "a.example", False, False),
        ("http://b.example", "a.example", False, False),
        ("http://a.example.evil", "a.example", False, False),
        ("http://evil/a.example", "a.example", False, False),
        ("http://a.example@evil", "a.example", False, False),
        ("http://a.example/", "a.example", False, False),
        ("null", "a.example", False, False),
        ("", "", False, False),
        ("file://", "a.example", False, False),
        ("http://a.example http://b.example", "a.example", False, False),
        ("http://a.example", None, False, False),
    ],
)
def test_pages_of_the_same_origin(origin: str | None, host: str | None, secure: bool, accepted: bool) -> None:
    assert OriginCheck().accepts(origin, host, secure) is accepted


def test_listed_origins() -> None:
    check = OriginCheck(["https://Shop.example:443", "http://localhost:3000"])
    assert check.accepts("https://shop.example", "api.example", True)
    assert check.accepts("http://localhost:3000", None, False)
    assert check.accepts(None, None, False)
    for other in ("http://shop.example", "http://localhost", "https://api.example", "null"):
        assert not check.accepts(other, "api.example", True)


@pytest.mark.parametrize("every", ["*", ["*"], ["https://a", "*"]])
def test_all_origins(every: object) -> None:
    assert OriginCheck(every).accepts("null", None, False)  # type: ignore[arg-type]


def test_a_callable_decides() -> None:
    check = OriginCheck(lambda origin: origin.endswith(".example"))
    assert check.accepts("https://any.example", None, False)
    assert not check.accepts("https://any.other", "any.other", True)


@pytest.mark.parametrize("wrong", ["https://a.example", ["a.example"], ["https://a/b"], [1], 5, [""]])
def test_wrong_settings(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"websocket\.origins must be"):
        OriginCheck(wrong)  # type: ignore[arg-type]
