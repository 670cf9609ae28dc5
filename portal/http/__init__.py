"""The HTTP portal: functions published and called over HTTP/1.1."""

from .portal import HTTPPortal

__all__ = ["HTTPPortal"]
