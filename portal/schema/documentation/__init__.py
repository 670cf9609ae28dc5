"""What a schema says to people: docstrings, declared errors and examples."""
