"""Run the command `portal` with `python -m portal`."""

from __future__ import annotations

from .cli.main import main

if __name__ == "__main__":
    main(prog_name="portal")
