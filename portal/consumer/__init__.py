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

__all__ = [
    "Balancing",
    "Candidate",
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
    "SuccessRate",
    "WeightedRoundRobin",
]
