"""Load balancing over the instances of a function. These modules use no sockets, threads or sleeps."""

from .candidate import Candidate
from .hashing import ConsistentHash
from .outliers import FailurePercentage, Outliers, SuccessRate
from .pickers import LeastOutstanding, PeakEWMA, Picker, PickFirst, RoundRobin, WeightedRoundRobin
from .settings import Balancing

__all__ = [
    "Balancing",
    "Candidate",
    "ConsistentHash",
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
