"""`python -m portal` is the command `portal`."""

from __future__ import annotations

from .cli.main import main

if __name__ == "__main__":
    main(prog_name="portal")
