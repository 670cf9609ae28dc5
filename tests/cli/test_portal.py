"""Wrong options of `portal serve` are rejected before anything listens."""

from __future__ import annotations

import pytest

from tests.support.command import run


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--token", "nobody"], 2, "must be NAME=TOKEN"),
        (["--token", "a=$NOT_THERE_AT_ALL"], 2, "the environment variable NOT_THERE_AT_ALL is not set"),
        (["--token", "a=same", "--token", "b=same"], 2, "a and b have the same token"),
        (
            ["--auth", "served_things"],
            2,
            "Invalid value for --auth: must be MODULE:TARGET, such as",
        ),
        (["--auth", "served_things:nothing"], 2, "Invalid value for --auth: served_things has no nothing"),
        (["--auth", "served_things:number"], 2, "auth"),
        (["--auth", "served_things:ApiKeyAuth"], 2, "is a class, not an authenticator"),
        (["--auth", "served_things:keys", "--token", "a=b"], 2, "both read bearer tokens"),
        (["--auth", "served_things:jwt", "--token", "a=b"], 2, "both read bearer tokens"),
        (["--auth", "served_things:missing"], 2, "must be an authenticator or a list"),
        (["--auth", "served_things:none"], 2, "must be an authenticator or a list"),
        (["--auth", "served_things:none", "--token", "a=b"], 2, "must be an authenticator or a list"),
        (["--limit", "often", "--workers", "2"], 2, "often"),
        (["served_things:nothing", "--workers", "2"], 2, "served_things has no nothing"),
        (["served_things:number", "--workers", "2"], 2, "got int"),
        (["served_things:local", "--workers", "2"], 2, "got the portal served_things:local"),
        (["--limit", "often"], 2, "often"),
        (["--cors", "shop.example"], 2, "origins"),
        (["--limit-store", "redis://127.0.0.1:1/0"], 2, "--limit-store needs --limit or"),
        (["--limit", "1/second", "--limit-store", "memcached://x", "--name", "a"], 2, "must be a URL such as"),
        (["--limit", "1/second", "--limit-store", "redis://127.0.0.1:1/0"], 2, "--limit-store needs --name"),
        (["--name", "tab\t"], 2, "portal.name must be 1 to 64 printable characters"),
        (["--auth-failure-limit", "1/second"], 2, "--auth-failure-limit needs --token or --auth"),
        (["--auth-failure-limit", "often", "--token", "a=b"], 2, "often"),
        (["--trusted-proxy", "10.0.0.1/8"], 2, "trusted_proxies"),
        (["--advertise", "10.0.0.7:8080"], 2, "need --directory"),
        (["--directory", "file:///portals.json"], 2, "because another program writes it"),
        (["--directory", "sqlite:///portals.sqlite", "--directory-key", "short"], 2, "at least 16 bytes"),
        (["--tls-key", "key.pem"], 2, "--tls-key needs --tls-certificate"),
        (["--tls-certificate", "nowhere.pem"], 2, "nowhere.pem"),
        (["--reload", "--workers", "2"], 2, "--reload runs one process"),
        (["--log", "/nowhere/at/all.log"], 2, "a file that can be opened for appending"),
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_wrong_options_are_rejected(options, code, message):
    result = run("serve", "served_things:plain", "--http", "127.0.0.1:0", *options)
    assert result.exit_code == code, result.output
    assert message in result.output
