"""MountedApps: which app serves a path."""

from __future__ import annotations

import pytest

from portal.errors import ConfigError
from portal.serving import Request, Response
from portal.serving.mounted_apps import MountedApps


class Plain:
    def handle(self, request: Request) -> Response:
        return Response(200)


class Trusting(Plain):
    """An app with a proxy, whose health checks are served at once."""

    prompt_paths = frozenset({"/health"})

    def trusts(self, peer: str) -> bool:
        return peer == "192.0.2.1"


@pytest.fixture
def api() -> Plain:
    return Plain()


@pytest.fixture
def shop() -> Trusting:
    return Trusting()


@pytest.fixture
def apps(api: Plain, shop: Trusting) -> MountedApps:
    made = MountedApps()
    made.add("/api", api, shared=False)
    made.add("/api/shop", shop, shared=False)
    return made


def test_the_longest_prefix_that_matches_counts(apps: MountedApps, api: Plain, shop: Trusting) -> None:
    assert [apps.find(path) for path in ("/api", "/api/", "/api/x", "/api/shops")] == [api] * 4
    assert [apps.find(path) for path in ("/api/shop", "/api/shop/x")] == [shop] * 2
    assert [apps.find(path) for path in ("/", "/apix", "/other")] == [None] * 3


def test_an_app_at_the_root_serves_every_other_path(apps: MountedApps, api: Plain) -> None:
    root = Plain()
    apps.add("/", root, shared=False)
    assert (apps.find("/other"), apps.find("/"), apps.find("/api/x")) == (root, root, api)


def test_a_prefix_has_one_app(apps: MountedApps, api: Plain) -> None:
    with pytest.raises(ConfigError, match="no other app"):
        apps.add("/api", Plain(), shared=False)
    apps.add("/api", Plain(), shared=True)
    assert (apps.find("/api"), len(apps)) == (api, 2)


def test_an_app_is_removed_from_all_its_prefixes(apps: MountedApps, api: Plain, shop: Trusting) -> None:
    apps.add("/docs", shop, shared=False)
    apps.remove(shop)
    assert (apps.find("/docs"), apps.find("/api/shop"), len(apps), apps.has("/api/shop")) == (None, api, 1, False)


def test_the_app_tells_trusted_proxies_and_prompt_paths(apps: MountedApps, shop: Trusting) -> None:
    assert (apps.trusts("192.0.2.1"), apps.trusts("192.0.2.2")) == (True, False)
    assert (apps.is_prompt("/health"), apps.is_prompt("/api")) == (True, False)
    apps.remove(shop)
    assert not apps.trusts("192.0.2.1")
    assert not apps.is_prompt("/health")


def test_prefixes_below_another_one_are_left_out(apps: MountedApps) -> None:
    apps.add("/docs", Plain(), shared=False)
    assert sorted(apps.prefixes()) == ["/api", "/docs"]
