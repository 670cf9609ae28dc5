"""`portal stub`: a client module of a server, of a service, and of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from portal import HTTPPortal, Service, function
from portal.cli.main import main
from portal.examples import orders


@function(version="2")
def level(sku: str) -> int:
    """Return how many are in stock."""
    return len(sku)


@function(name="level", version="1")
def old_level(sku: str) -> str:
    """Return how many are in stock, as text."""
    return str(len(sku))


def ping() -> bool:
    """Ping."""
    return True


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with HTTPPortal() as http:
        http.apply_service(Service("warehouse", [level, ping], description="The stock."))
        http.apply(level)
        http.apply(old_level)
        yield str(http.base)


def stub(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["stub", *arguments])


def test_a_server(base: str) -> None:
    text = stub(base).stdout
    ast.parse(text)
    assert text.startswith('"""A client of functions, warehouse.')
    assert (
        f'class Functions(Client):\n    """The functions of this portal."""\n\n    ADDRESS: ClassVar[str] = "{base}"'
        in text
    )
    assert f'class Warehouse(Client):\n    """The stock."""\n\n    ADDRESS: ClassVar[str] = "{base}/warehouse"' in text
    assert "def level(self, sku: str) -> int:" in text
    assert "def level_v1(self, sku: str) -> str:" in text
    assert 'self._call("level@1", {"sku": sku}, returns=str)' in text


def test_the_url_of_a_server_is_completed(base: str) -> None:
    server = base.removesuffix("/api")
    assert stub(server).stdout == stub(f"{server}/").stdout == stub(base).stdout


def test_a_service_of_a_server(base: str) -> None:
    text = stub(f"{base}/warehouse").stdout
    assert f'ADDRESS: ClassVar[str] = "{base}/warehouse"' in text
    assert "class Functions" not in text


def test_a_module_and_another_address() -> None:
    text = stub("portal.examples.orders:service").stdout
    assert 'ADDRESS: ClassVar[str] = "local://orders"' in text
    assert "def price(self, order: Order) -> Invoice:" in text
    assert (
        'ADDRESS: ClassVar[str] = "https://shop.example/api/orders"'
        in stub("portal.examples.orders:service", "--address", "https://shop.example/api").stdout
    )


def test_a_file_is_written_and_checked(tmp_path: Path, base: str) -> None:
    path = tmp_path / "client.py"
    assert stub(base, "-o", str(path)).exit_code == 0
    assert path.read_text(encoding="utf-8") == stub(base).stdout
    same = stub(base, "--check", str(path))
    assert (same.exit_code, same.stdout) == (0, f"{path} is up to date\n")
    path.write_text(path.read_text(encoding="utf-8").replace("level", "amount"), encoding="utf-8")
    other = stub(base, "--check", str(path))
    assert other.exit_code == 1
    assert "+    def level(self, sku: str) -> int:" in other.stdout
    assert "is out of date; write it again with portal stub" in other.stderr


def test_a_client_of_a_server_is_checked_against_the_module(tmp_path: Path) -> None:
    target = "portal.examples.orders:service"
    path = tmp_path / "client.py"
    assert stub(target, "--address", "https://shop.example/api", "--output", str(path)).exit_code == 0
    with HTTPPortal() as http:
        http.apply_service(orders.service)
        for source in (target, str(http.base), f"{http.base}/orders"):
            assert stub(source, "--check", str(path)).exit_code == 0, source
    other = stub(target, "--address", "https://bank.example/api", "--check", str(path))
    assert other.exit_code == 1
    assert '+    ADDRESS: ClassVar[str] = "https://bank.example/api/orders"' in other.stdout
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("price", "cost"), encoding="utf-8")
    assert stub(target, "--check", str(path)).exit_code == 1


def test_mistakes(tmp_path: Path, base: str) -> None:
    assert stub(base, "--output", str(tmp_path / "no" / "client.py")).exit_code == 2
    assert stub(f"{base}/nothing").exit_code == 4
    assert stub("portal.examples.orders:nothing").exit_code == 2
    assert stub(base, "--check", str(tmp_path / "none.py")).exit_code == 2
