"""Benchmarks: the parts of a call (`pytest benchmarks`), comparisons with other libraries, and profiles.

`compare_http` compares Portal with its peers and `compare_checkouts` two checkouts of Portal. `profile_call` times the
parts of a call and `frames` counts its Python frames. Each is run by `python -m benchmarks.NAME`. The test suite does
not collect this folder.
"""
