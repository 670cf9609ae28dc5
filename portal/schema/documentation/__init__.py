"""The documentation in a schema: docstrings, declared errors and examples."""
