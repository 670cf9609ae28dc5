"""Fetch the JSON-Schema-Test-Suite, which jsonschema's source distribution carries under json/tests.

usage: python tests/conformance/fetch_json_schema_suite.py [DEST]      (default: .cache/json-schema-suite)
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

DEFAULT = Path(__file__).parents[2] / ".cache" / "json-schema-suite"


def fetch(destination: Path) -> int:
    """Unpack the cases of draft 2020-12 into `destination`; how many files they are."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "jsonschema"]
        subprocess.run([*command, "--dest", folder, "jsonschema"], check=True, timeout=300)
        (archive,) = Path(folder).glob("jsonschema-*.tar.gz")
        return _unpack(archive, destination)


def _unpack(archive: Path, destination: Path) -> int:
    destination.mkdir(parents=True, exist_ok=True)
    found = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if member.isfile() and path.parts[-3:-1] == ("tests", "draft2020-12") and path.suffix == ".json":
                data = tar.extractfile(member)
                assert data is not None
                (destination / path.name).write_bytes(data.read())
                found += 1
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    print(f"{fetch(target)} files of cases in {target}")
