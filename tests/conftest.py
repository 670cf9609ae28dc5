from __future__ import annotations

from hypothesis import settings

# Machines are shared and slow at times: an example's own time says nothing there.
settings.register_profile("portal", deadline=None)
settings.load_profile("portal")
