"""`portal serve --workers`: several processes."""

from __future__ import annotations

import json
import subprocess

import psutil
import pytest

from portal import Consumer
from tests.support.command import first_address, serving
from tests.support.ports import free_port

pytest.importorskip("gunicorn")


def test_workers_serve(here):
    where = ("--http", "127.0.0.1:0", "--workers", "2", "--json")
    with serving(here, "served_things:plain", *where, "--token", "a=b") as server:
        address = first_address(server)
        with Consumer(auth="b") as consumer:
            assert [consumer.call_at(address) for _ in range(5)] == [1] * 5


def test_workers_serve_websockets_on_the_same_port(here):
    with serving(here, "served_things:plain", "--http", "127.0.0.1:0", "--ws", "--workers", "2", "--json") as server:
        addresses = [row["address"] for row in json.loads(server.stdout.readline())["functions"]]
        assert [address.partition(":")[0] for address in addresses] == ["http", "ws"]
        with Consumer() as consumer:
            assert [consumer.call_at(address) for address in addresses * 3] == [1] * 6
            server.terminate()
            assert server.wait(30) == 0, "a connection that is open does not keep the workers"


def test_workers_print_the_same_as_one_process(here):
    arguments = ["served_things:plain", "served_things:Shop", "--http", "127.0.0.1:0"]

    def printed(server: subprocess.Popen[str]) -> list[str]:
        lines = [server.stdout.readline() for _ in range(2)]
        port = lines[0].partition("127.0.0.1:")[2].partition("/")[0]
        with Consumer() as consumer:
            assert consumer.call_at(lines[0].strip()) == 1
        return [line.replace(port, "PORT") for line in lines]

    with serving(here, *arguments) as one, serving(here, *arguments, "--workers", "2") as several:
        assert printed(several) == printed(one)
        assert any(line.startswith("serving at http://127.0.0.1:") for line in iter(several.stderr.readline, ""))


def test_workers_print_the_addresses_once(here):
    with serving(here, "served_things:Shop", "--http", "127.0.0.1:0", "--json", "--workers", "2") as server:
        printed = json.loads(server.stdout.readline())
        assert [row["name"] for row in printed["services"]] == ["shop"]
        with Consumer() as consumer:
            assert consumer.call_at(printed["functions"][0]["address"]) is True
        server.terminate()
        assert set(server.stdout.read().splitlines()) <= {"stopping"}


def test_no_token_is_in_the_environment_of_a_worker(here):
    port = free_port()
    secret, password = "s3cret-token", "hunter2-hunter2"
    options = ("--token", f"ann={secret}", "--limit", "100/second", "--limit-store", f"redis://:{password}@127.0.0.1:1")
    where = ("--http", f"127.0.0.1:{port}", "--workers", "2", "--name", "shop")
    with serving(here, "served_things:plain", *where, *options) as server:
        assert server.stdout.readline().startswith("http://")  # a worker has read the options
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert len(processes) >= 2
        for process in processes:
            seen = str(process.environ()) + str(process.cmdline())
            assert secret not in seen
            assert password not in seen


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        "--config gunicorn.conf.py",
        "-c ./gunicorn.conf.py",
        "--config {other}/gunicorn.conf.py",
        "--config file:{other}/gunicorn.conf.py",
        "--chdir {other}",
        "--chdir {other} --config gunicorn.conf.py",
    ],
)
def test_no_configuration_file_of_gunicorn_is_run(here, tmp_path, monkeypatch, arguments):
    """Neither that of the current directory nor one that GUNICORN_CMD_ARGS names."""
    ran = tmp_path / "ran"
    other = tmp_path / "other"
    other.mkdir()
    for folder in (here, other):
        text = f"open({str(ran)!r}, 'w').close()\nbind = '127.0.0.1:1'\nworkers = 7\n"
        (folder / "gunicorn.conf.py").write_text(text)
    (other / "served_things.py").write_text((here / "served_things.py").read_text())
    if arguments is not None:
        monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments.format(other=other))
    where = ("--http", "127.0.0.1:0", "--workers", "2", "--json")
    with serving(here, "served_things:plain", *where) as server, Consumer() as consumer:
        assert consumer.call_at(first_address(server)) == 1
    assert not ran.exists()
