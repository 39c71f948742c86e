"""How a variable moves by itself: the notation of `behaviour` in a register map, and values as functions of time."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from msm.errors import DeclarationError
from msm.memory.mapspec import did_you_mean

FORMS = (
    "ramp LOW HIGH SECONDS",
    "sine LOW HIGH SECONDS",
    "walk LOW HIGH STEP",
    "counter LOW HIGH SECONDS",
    "echo NAME SECONDS",
)

ValueOf = Callable[[str], Any]


class Behaviour(ABC):
    """What a variable does."""

    extremes: tuple[float, ...] = ()
    """The lowest and the highest value that it may take, where that is known."""
    source: str = ""
    """The other variable that it follows, if it does."""

    @abstractmethod
    def at(self, seconds: float, value_of: ValueOf) -> Any:
        """The value so many seconds after the start, where `value_of(name)` gives the values of others."""


class _Between(Behaviour):
    """Moves between two numbers at some pace."""

    def __init__(self, low: float, high: float, pace: float) -> None:
        self.low, self.high, self.pace = low, high, pace
        self.extremes = (low, high)


class Ramp(_Between):
    """From `low` to `high` in `pace` seconds, and again from `low`."""

    def at(self, seconds: float, value_of: ValueOf) -> float:
        return self.low + (self.high - self.low) * (seconds / self.pace % 1)


class Sine(_Between):
    """Up and down between `low` and `high`, once in `pace` seconds; it begins in the middle."""

    def at(self, seconds: float, value_of: ValueOf) -> float:
        middle, reach = (self.high + self.low) / 2, (self.high - self.low) / 2
        return middle + reach * math.sin(2 * math.pi * seconds / self.pace)


class Counter(_Between):
    """One more every `pace` seconds, from `low` to `high`; then again from `low`. Down, if `high` is the lower one."""

    def at(self, seconds: float, value_of: ValueOf) -> float:
        steps = int(seconds / self.pace) % (int(abs(self.high - self.low)) + 1)
        return self.low + math.copysign(steps, self.high - self.low)


class Walk(_Between):
    """Each second a step by chance, of at most `pace`, and never beyond `low` and `high`; it begins in the middle."""

    def __init__(self, low: float, high: float, pace: float, chance: random.Random) -> None:
        super().__init__(low, high, pace)
        self._chance = chance
        self._value = (low + high) / 2
        self._steps = 0

    def at(self, seconds: float, value_of: ValueOf) -> float:
        while self._steps < int(seconds):
            self._steps += 1
            step = self._chance.uniform(-self.pace, self.pace)
            self._value = min(max(self._value + step, min(self.extremes)), max(self.extremes))
        return self._value


class Echo(Behaviour):
    """The value that another variable had some seconds ago: what a command leads to."""

    def __init__(self, source: str, delay: float) -> None:
        self.source = source
        self.delay = delay
        self._past: deque[tuple[float, Any]] = deque()

    def at(self, seconds: float, value_of: ValueOf) -> Any:
        self._past.append((seconds, value_of(self.source)))
        while len(self._past) > 1 and self._past[1][0] <= seconds - self.delay:
            self._past.popleft()
        return self._past[0][1]


MOVES: dict[str, Callable[[float, float, float], Behaviour]] = {"ramp": Ramp, "sine": Sine, "counter": Counter}


def behaviour(text: str, chance: random.Random) -> Behaviour:
    """The behaviour that a map's text means.

    :param chance: where a random walk takes its steps from.
    :raises DeclarationError: it is none; the message shows which there are.
    """
    kind, _, rest = text.strip().partition(" ")
    parts = rest.split()
    if kind == "echo":
        name, _, delay = rest.strip().rpartition(" ")
        seconds = _number(text, delay)
        if not name or seconds < 0:
            raise _no_behaviour(text)
        return Echo(name.strip(), seconds)
    if kind not in (*MOVES, "walk"):
        raise DeclarationError(f"{_no_behaviour(text)}{did_you_mean(kind, (*MOVES, 'walk', 'echo'))}")
    numbers = [_number(text, part) for part in parts]
    if len(numbers) != 3 or numbers[2] <= 0:
        raise _no_behaviour(text)
    low, high, pace = numbers
    return Walk(low, high, pace, chance) if kind == "walk" else MOVES[kind](low, high, pace)


def _number(text: str, part: str) -> float:
    try:
        number = float(part)
    except ValueError:
        raise _no_behaviour(text) from None
    if not math.isfinite(number):
        raise _no_behaviour(text)
    return number


def _no_behaviour(text: str) -> DeclarationError:
    return DeclarationError(f"behaviour {text!r} is none of: {'; '.join(FORMS)}")
