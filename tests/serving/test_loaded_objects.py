from __future__ import annotations

import gc

from portal.serving.loaded_objects import freeze_loaded_objects


def test_existing_objects_are_left_out_of_collections() -> None:
    existing = [[]]
    try:
        freeze_loaded_objects()
        assert gc.get_freeze_count() > 1000
        assert not any(one is existing for one in gc.get_objects())
    finally:
        gc.unfreeze()
