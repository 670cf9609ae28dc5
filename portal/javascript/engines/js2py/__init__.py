"""The engine js2py, with what makes it run on every CPython and closes its known holes."""
