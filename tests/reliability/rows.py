"""The rows of the reliability table: what is done, how often, what is demanded, and what was measured."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How much of everything: the long form, or the short one that the tests run."""

    full: bool
    seed: int = 1

    def of(self, full: int, short: int) -> int:
        """So often."""
        return full if self.full else short

    def random(self) -> random.Random:
        """Chance, the same each time."""
        return random.Random(self.seed)


SHORT, FULL = Scale(full=False), Scale(full=True)


class Missed(AssertionError):
    """A criterion was not met; the text is what was measured."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    fault: str
    criterion: str
    measured: str
    good: bool
    seconds: float


Measure = Callable[[Scale], tuple[str, str]]


@dataclass(frozen=True)
class Check:
    """How one row is measured: gives what was done and what was measured, or raises `Missed`."""

    name: str
    criterion: str
    measure: Measure

    def run(self, scale: Scale) -> Row:
        """Measure it."""
        began = time.monotonic()
        try:
            fault, measured = self.measure(scale)
            good = True
        except Missed as missed:
            fault, measured, good = self.name.replace("_", " "), str(missed), False
        return Row(fault, self.criterion, measured, good, time.monotonic() - began)


CHECKS: dict[str, Check] = {}


def check(criterion: str) -> Callable[[Measure], Measure]:
    """Make a row of a function."""

    def add(measure: Measure) -> Measure:
        CHECKS[measure.__name__] = Check(measure.__name__, criterion, measure)
        return measure

    return add


def demand(met: bool, measured: str) -> None:
    """:raises Missed: it is not met."""
    if not met:
        raise Missed(measured)
