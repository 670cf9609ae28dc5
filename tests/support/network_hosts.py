"""Hosts of a network for tests: network namespaces, each with a cable to this one that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

__all__ = ["NetworkHost", "network_hosts"]

_WAIT = 60.0


class NetworkHost(NamedTuple):
    """A host.

    Attributes:
        name: of its namespace.
        address: its IP address.
        gateway: the IP address of this side, which all hosts reach.
        cable: its network interface.
    """

    name: str
    address: str
    gateway: str
    cable: str

    def command(self, *arguments: str) -> list[str]:
        """Return a command that runs on the host."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def cut(self) -> None:
        """Pull the cable."""
        _ip("-n", self.name, "link", "set", self.cable, "down")

    def mend(self) -> None:
        """Plug the cable in."""
        _ip("-n", self.name, "link", "set", self.cable, "up")
        _ip("-n", self.name, "route", "replace", "default", "via", _gateway_of(self))


def _gateway_of(host: NetworkHost) -> str:
    return host.address.rpartition(".")[0] + ".1"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=_WAIT)


@contextmanager
def network_hosts(count: int) -> Iterator[list[NetworkHost]]:
    """Make hosts. The test is skipped where this process may not make network namespaces."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("needs Linux and the command ip")
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    number = os.getpid() % 200
    with ExitStack() as cleanup:
        hosts = []
        for index in range(count):
            prefix = f"10.{213 + index}.{number}"
            name, cable = f"portal-{os.getpid()}-{index}", f"pc{os.getpid()}-{index}"[:15]
            try:
                _ip("netns", "add", name)
                cleanup.callback(_ip, "netns", "delete", name)  # and the cable with it
                _ip("link", "add", f"x{cable[1:]}", "type", "veth", "peer", "name", cable, "netns", name)
                _ip("addr", "add", f"{prefix}.1/30", "dev", f"x{cable[1:]}")
                _ip("link", "set", f"x{cable[1:]}", "up")
                _ip("-n", name, "addr", "add", f"{prefix}.2/30", "dev", cable)
                _ip("-n", name, "link", "set", "lo", "up")
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces are not possible here: {error.stderr.strip()}")
            hosts.append(NetworkHost(name, f"{prefix}.2", f"10.213.{number}.1", cable))
            hosts[-1].mend()
        yield hosts
