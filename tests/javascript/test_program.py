from __future__ import annotations

from portal.javascript import Program


def test_a_program_travels_as_text_with_its_digest() -> None:
    program = Program("f", "x\ud800", 1, ("a",), '{"log": 1}', (("m", "code"),))
    again = Program.from_json(program.to_json(), "0123")
    assert again == program
    assert again.digest == "0123"
    assert program.digest != Program("f", "x").digest
    assert len(program.digest) == 16
