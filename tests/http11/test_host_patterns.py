from __future__ import annotations

from typing import Any

import pytest

from portal.errors import ConfigError
from portal.http11.host_patterns import LOOPBACK_HOSTS, AllowedHosts, is_loopback


@pytest.mark.parametrize(
    "header",
    ["localhost", "localhost:8080", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080",
     "[0:0:0:0:0:0:0:1]", "localhost:"],
)  # fmt: skip
def test_loopback_hosts_are_accepted_with_and_without_a_port(header: str) -> None:
    assert AllowedHosts(LOOPBACK_HOSTS).accepts(header)


@pytest.mark.parametrize(
    "header",
    ["evil.example", "evil.example:8080", "", ":80", "localhost.evil.example", "evil.localhost",
     "127.0.0.1.evil.example",
     "127.0.0.1.nip.io", "localhost..", "[::2]", "[::ffff:127.0.0.1]", "127.1", "0177.0.0.1", "2130706433", "0.0.0.0",
     "%6cocalhost", "localhost:80:80", "localhost,evil.example", "127.0.0.2", "::1", "[::1", "[localhost]",
     "localhost" + ":" + "1" * 400],
)  # fmt: skip
def test_other_hosts_are_not_loopback_hosts(header: str) -> None:
    assert not AllowedHosts(LOOPBACK_HOSTS).accepts(header)


def test_a_pattern_matches_the_names_below_a_name() -> None:
    hosts = AllowedHosts(["shop.example", "*.Shops.example"])
    assert hosts.accepts("SHOP.example:443")
    assert hosts.accepts("a.shops.example")
    assert hosts.accepts("a.b.shops.example.")
    rejected = ["shops.example", "evilshops.example", "a.shop.example", "shop.example.evil", "localhost"]
    assert not any(hosts.accepts(host) for host in rejected)


def test_a_star_accepts_every_host() -> None:
    hosts = AllowedHosts(["*"])
    assert hosts.any
    assert hosts.accepts("evil.example")
    assert hosts.accepts("")


@pytest.mark.parametrize(
    "hosts",
    ["shop.example", [], [""], [7], None, 7, ["shop.example:80"], ["http://shop.example"], ["a b"], ["*."],
     ["*example"],
     ["a.*.example"], [".shop.example"], ["**"], ["[::1"], ["::g"], ["shop.example/"], ["bücher.example"]],
)  # fmt: skip
def test_wrong_hosts_are_rejected(hosts: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        AllowedHosts(hosts, setting="http.allowed_hosts")
    assert caught.value.path == "http.allowed_hosts"
    assert caught.value.expected.startswith("a list of hosts without port")


def test_loopback_addresses() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"))
    assert not any(is_loopback(host) for host in ("", "0.0.0.0", "::", "10.0.0.1", "shop.example", "localhost.example"))
