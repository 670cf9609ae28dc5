from __future__ import annotations

from hypothesis import settings

# Shared machines are slow at times, so the duration of one example is not tested.
settings.register_profile("portal", deadline=None)
settings.load_profile("portal")
