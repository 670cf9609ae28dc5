"""Classes that other code makes JSON data of: registered types, pydantic models and msgspec Structs."""
