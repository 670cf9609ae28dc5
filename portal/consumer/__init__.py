"""Consumer: call functions by address or by name, and spread calls over instances."""

from .balancing import (
    Balancing,
    Candidate,
    ConsistentHash,
    FailurePercentage,
    LeastOutstanding,
    Outliers,
    PeakEWMA,
    Picker,
    PickFirst,
    RoundRobin,
    SuccessRate,
    WeightedRoundRobin,
)
from .consumer import Consumer
from .explain import Explanation
from .objects.client import OMIT, Client
from .objects.service_proxy import ServiceProxy

__all__ = [
    "OMIT",
    "Balancing",
    "Candidate",
    "Client",
    "ConsistentHash",
    "Consumer",
    "Explanation",
    "FailurePercentage",
    "LeastOutstanding",
    "Outliers",
    "PeakEWMA",
    "PickFirst",
    "Picker",
    "RoundRobin",
    "ServiceProxy",
    "SuccessRate",
    "WeightedRoundRobin",
]
