"""Read what another process writes to a FIFO, and fail if it writes nothing."""

from __future__ import annotations

import os
import select
from pathlib import Path

from tests.support.waiting import WAIT

__all__ = ["read_fifo"]


def read_fifo(path: Path, seconds: float = WAIT) -> str:
    """Return the text of the first writer. `Path.read_text` would wait for ever for one that never comes."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    text = b""
    try:
        while True:
            assert select.select([fd], [], [], seconds)[0], "nothing was written"
            if not (piece := os.read(fd, 4096)):
                return text.decode()
            text += piece
    finally:
        os.close(fd)
