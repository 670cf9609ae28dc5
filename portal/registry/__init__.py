"""Names to Functions and Services; schemes to Portals."""

from .functions import FunctionRegistry
from .portals import PortalRegistry
from .services import ServiceRegistry

__all__ = ["FunctionRegistry", "PortalRegistry", "ServiceRegistry"]
