from __future__ import annotations

from pathlib import Path

from portal.errors import error_table

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


def test_the_table_in_the_docs_is_the_table_of_the_code() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    expected = [
        f"| `{name}` | `{code}` | {status} | {rpc_code} | {'yes' if retryable else 'no'} |"
        for name, code, status, rpc_code, retryable in error_table()
    ]
    assert rows == expected


def test_codes_are_unique() -> None:
    table = error_table()
    assert len({row[1] for row in table}) == len({row[3] for row in table}) == len(table)
