"""Figures, ratios and targets of one part of a comparison, and the tables that show them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

__all__ = ["Part", "Target", "table"]

Rule = Literal[">=", ">", "<=", "-"]
_HOLDS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, ">": operator.gt, "<=": operator.le}


@dataclass(frozen=True)
class Target:
    """The ratio subject/peer, and the bound it must keep.

    Attributes:
        rule: how the ratio compares with `bound`; "-" when the ratio has no bound.
    """

    subject: str
    peer: str
    rule: Rule = "-"
    bound: float = 0.0

    def verdict(self, ratios: list[float]) -> str:
        """Return "yes" or "no", "unsure" when the rounds disagree, or "" when there is no bound."""
        if self.rule not in _HOLDS:
            return ""
        held = {_HOLDS[self.rule](ratio, self.bound) for ratio in ratios}
        return "unsure" if len(held) > 1 else "yes" if True in held else "no"


@dataclass
class Part:
    """One part of a comparison.

    Attributes:
        title, unit: headings of the tables.
        targets: the ratios to show.
        rates: whether figures are rates, whose median is the result. Otherwise they are times, whose least is.
        rounds: the figures of each contestant, one a round.
        skipped: the reason why a contestant has no figures.
        notes: lines below the tables.
        others: the average number of processors that other processes kept busy; None when unknown.
    """

    title: str
    unit: str
    targets: tuple[Target, ...]
    rates: bool = True
    rounds: dict[str, list[float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    others: float | None = None

    def results(self) -> dict[str, float]:
        """Return the result of each contestant."""
        choose: Callable[[list[float]], float] = median if self.rates else min
        return {name: choose(figures) for name, figures in self.rounds.items() if figures}

    def ratios(self) -> list[dict[str, Any]]:
        """Return each target of two contestants with results: subject, peer, ratio, least, greatest, target, met.

        `least` and `greatest` are of the ratios within one round, in which both ran at nearly the same time. A target
        is met, or missed, when all of these ratios and the ratio of the results agree.
        """
        results = self.results()
        measured = [target for target in self.targets if target.subject in results and target.peer in results]
        return [self._ratio(target, results[target.subject] / results[target.peer]) for target in measured]

    def _ratio(self, target: Target, ratio: float) -> dict[str, Any]:
        pairs = zip(self.rounds[target.subject], self.rounds[target.peer], strict=True)
        each = [subject / peer for subject, peer in pairs]
        return {
            "subject": target.subject,
            "peer": target.peer,
            "ratio": ratio,
            "least": min(each),
            "greatest": max(each),
            "target": _words(target),
            "met": target.verdict([ratio, *each]),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON data."""
        return {
            "title": self.title,
            "unit": self.unit,
            "rounds": self.rounds,
            "results": self.results(),
            "ratios": self.ratios(),
            "skipped": self.skipped,
            "notes": self.notes,
            "others": self.others,
        }

    def lines(self) -> Iterator[str]:
        """Yield the part as lines of Markdown."""
        yield f"## {self.title}"
        yield ""
        yield from table((("contestant", self.unit, "rounds"), *self._figure_rows()))
        yield ""
        yield from table((("ratio", "of results", "of rounds", "target", "met"), *self._ratio_rows()))
        yield ""
        for name, reason in self.skipped.items():
            yield f"{name} is skipped: {reason}"
        yield from self.notes
        if self.others is not None:
            yield f"Other processes kept {self.others:.2f} processors busy meanwhile."

    def _figure_rows(self) -> Iterator[tuple[str, ...]]:
        for name, result in self.results().items():
            figures = self.rounds[name]
            each = [min(figures), median(figures), max(figures)] if len(figures) > 5 else figures
            joiner = " .. " if len(figures) > 5 else ", "
            yield name, f"{result:,.0f}", joiner.join(f"{figure:,.0f}" for figure in each)

    def _ratio_rows(self) -> Iterator[tuple[str, ...]]:
        for row in self.ratios():
            spread = f"{row['least']:.2f} .. {row['greatest']:.2f}"
            yield f"{row['subject']} / {row['peer']}", f"{row['ratio']:.2f}", spread, row["target"], row["met"]


def _words(target: Target) -> str:
    return "" if target.rule == "-" else f"{target.rule} {target.bound:g}"


def table(rows: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    """Yield an aligned Markdown table, with the first row as heading and all columns but the first to the right."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (width + 1) + ':' for width in widths[1:])}|"
