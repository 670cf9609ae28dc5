"""The catalogue of a registry or portal: functions by path and version."""

from .catalogue import Catalogue, Entry, UniqueIds

__all__ = ["Catalogue", "Entry", "UniqueIds"]
