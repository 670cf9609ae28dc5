"""A cluster with TLS: which clients reach it, and how they are configured."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trustme

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import ConfigError, Consumer
from portal.cluster import DaskPortal, DaskResolver
from portal.cluster.security import has_certificates, security_of
from portal.errors import TransportError
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import WAIT, cluster_of, quiet

pytestmark = quiet


def files_of(folder: Path) -> dict[str, str]:
    """Write a new authority and a certificate of it, and return their paths as `Security` names them."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    paths = {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    certificate.cert_chain_pems[0].write_to_path(paths["cert"])
    certificate.private_key_pem.write_to_path(paths["key"])
    return paths


def security_with(paths: dict[str, str], **options: Any) -> Any:
    roles = {
        f"tls_{role}_{kind}": paths[kind] for role in ("client", "scheduler", "worker") for kind in ("cert", "key")
    }
    return import_module("distributed").Security(tls_ca_file=paths["ca"], **roles, **options)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return files_of(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def cluster(paths: dict[str, str]) -> Iterator[Any]:
    with cluster_of(1, security=security_with(paths, require_encryption=True), protocol="tls://") as made:
        assert made.scheduler_address.startswith("tls://")
        yield made


@pytest.mark.parametrize("how", ["url", "host and port", "client"])
def test_a_portal_of_a_cluster_with_tls(cluster: Any, paths: dict[str, str], how: str) -> None:
    security, url = security_with(paths), cluster.scheduler_address
    with cluster.get_client() as client:
        given = {"url": url, "host and port": url.removeprefix("tls://"), "client": client}[how]
        options = {} if how == "client" else {"security": security}
        with DaskPortal(given, **options) as portal, Consumer([portal], timeout=WAIT) as consumer:
            address = portal.apply(functions.add)
            assert str(address).startswith("dask://127.0.0.1:")
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
            with Consumer([DaskResolver(security=security)], timeout=WAIT) as other:
                assert other.call_at(address, {"a": 1, "b": 2}) == 3.0


def test_the_configuration_of_dask_is_used(cluster: Any, paths: dict[str, str]) -> None:
    with DaskPortal(cluster.scheduler_address, security=security_with(paths)) as portal:
        address = portal.apply(functions.add)
        settings = {
            "distributed.comm.require-encryption": True,
            "distributed.comm.tls.ca-file": paths["ca"],
            "distributed.comm.tls.client.cert": paths["cert"],
            "distributed.comm.tls.client.key": paths["key"],
        }
        with import_module("dask").config.set(settings), Consumer(timeout=WAIT) as consumer:
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0


def test_a_function_on_a_worker_calls_the_cluster_with_tls(cluster: Any, paths: dict[str, str]) -> None:
    """It uses the certificates of its worker."""
    with DaskPortal(cluster.scheduler_address, security=security_with(paths)) as portal:
        address, outer = portal.apply(functions.ids_of), portal.apply(functions.names_at)
        assert "ids_of" in portal.resolve_function(outer)(address=f"dask://{address.authority}")


def test_certificates_of_another_authority_are_rejected(cluster: Any, tmp_path: Path) -> None:
    security = security_with(files_of(tmp_path))
    portal = DaskPortal(cluster.scheduler_address, security=security)
    with pytest.raises(TransportError, match="cannot be reached"):
        portal.start()
    portal.close()


def test_tls_needs_certificates(paths: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="with certificates for tls://"):
        DaskPortal("tls://host:8786")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        DaskPortal("host:8786", security=security_with({**paths, "ca": "/none.pem"}))
    for wrong in (True, "secure"):
        with pytest.raises(ConfigError, match=r"a distributed\.Security or None"):
            DaskResolver(security=wrong)
    assert has_certificates(security_with(paths))
    assert not has_certificates(security_of(None))


def test_a_client_has_its_own_security(cluster: Any, paths: dict[str, str]) -> None:
    with cluster.get_client() as client, pytest.raises(ConfigError, match="which has its own"):
        DaskPortal(client, security=security_with(paths))
