"""Measurements: of the parts (`pytest benchmarks`), side by side with others, and where a call's time goes.

`python -m benchmarks.compare_http` and `python -m benchmarks.profile_call` print tables. The test run collects none of
this: its testpaths are `tests`.
"""
