from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("code", BLOCKS)
def test_what_the_docs_show_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "docs"}
    exec(compile(code, "docs", "exec", dont_inherit=True), names)
    assert len(names) > 1


def test_every_decision_is_listed() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = sorted(page.name for page in (DOCS / "decisions").glob("*.md"))
    assert pages
    assert [name for name in pages if f"(decisions/{name})" not in index] == []
