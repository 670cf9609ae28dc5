"""Registries: functions and services by name, portals by address scheme."""

from .functions import FunctionRegistry
from .portals import PortalRegistry
from .services import ServiceRegistry

__all__ = ["FunctionRegistry", "PortalRegistry", "ServiceRegistry"]
