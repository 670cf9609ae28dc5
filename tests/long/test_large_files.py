"""A large file goes up and comes back, and neither side has it in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

MIB = 1024 * 1024


def make_file(path: Path, size: int) -> str:
    """Write a file with a different byte in each MiB; the rest of it takes no disk space."""
    with path.open("wb") as file:
        file.truncate(size)
        for number in range(size // MIB):
            file.seek(number * MIB + number)
            file.write(bytes([number % 255 + 1]))
    return str(path)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("size", "growth"),
    [pytest.param(96 * MIB, 32 * MIB, id="small"), pytest.param(1024 * MIB, 32 * MIB, id="long")],
)
def test_files(run: Any, tmp_path: Path, size: int, growth: int) -> None:
    server = run("serve_files.py", max_body=size + MIB)
    warm, path = make_file(tmp_path / "warm.bin", 4 * MIB), make_file(tmp_path / "large.bin", size)
    client = run("file_client.py", address=server.read(), warm=warm, path=path, timeout=1200.0)
    client_warm, server_warm = client.read(), server.request()
    assert client_warm["same"]
    moved, served = client.request(), server.request()
    print(
        f"\n{size // MIB} MiB up and down in {moved['seconds']:.1f} s; peak of the client "
        f"{client_warm['peak'] / MIB:.1f} -> {moved['peak'] / MIB:.1f} MiB, of the server "
        f"{server_warm['peak'] / MIB:.1f} -> {served['peak'] / MIB:.1f} MiB"
    )
    assert (moved["size"], moved["name"], moved["same"]) == (size, "large.bin", True)
    assert moved["peak"] - client_warm["peak"] < growth
    assert served["peak"] - server_warm["peak"] < growth
