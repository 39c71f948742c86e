"""A memory that moves as its register map says, and whose values can be set by hand meanwhile."""

from __future__ import annotations

import enum
import random
from typing import Any

from msm.cli.behaviour import Behaviour, behaviour
from msm.cli.device import check_name
from msm.cli.text import parsed, shown
from msm.errors import DeclarationError, MsmError
from msm.memory.store import MemoryStore
from msm.memory.variable import MemoryVariable


class Machine:
    """A store that is a device.

    :raises DeclarationError: a behaviour cannot be, or takes its variable to a value that does not fit.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.troubles: dict[str, str] = {}
        """What is wrong with the behaviour of a variable just now: its value does not fit."""
        self._by_hand: set[str] = set()
        self._variables = store.variables()
        self._behaviours: dict[str, Behaviour] = {}
        for name, variable in self._variables.items():
            text = variable.keywords.get("behaviour")
            if text:
                try:
                    self._behaviours[name] = self._checked(variable, text)
                except MsmError as error:
                    raise DeclarationError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
        self.advance(0.0)

    @property
    def moving(self) -> int:
        """How many variables move by themselves."""
        return len(self._behaviours.keys() - self._by_hand)

    def advance(self, seconds: float) -> None:
        """Move all that moves to where it is so many seconds after the start."""
        for name, moves in self._behaviours.items():
            value = moves.at(seconds, self.store.__getitem__)
            if name in self._by_hand:
                continue
            try:
                self.store.provide(**{name: fitted(self._variables[name], value)})
                self.troubles.pop(name, None)
            except MsmError as error:
                self.troubles[name] = str(error)

    def set(self, name: str, text: str) -> str:
        """Set a variable by hand; it stays there. With no text, one that has a behaviour moves again.

        :returns: what was done, for people.
        :raises UnknownVariableError: there is no such variable.
        :raises ValueTypeError: the text is no value for it.
        :raises ValueRangeError: the value does not fit.
        """
        check_name(self.store, name)
        if not text and name in self._behaviours:
            self._by_hand.discard(name)
            return f"{name} moves again"
        variable = self._variables[name]
        self.store.provide(**{name: parsed(variable, text)})
        self._by_hand.add(name)
        return f"{name} = {shown(self.store[name], variable.kind)} {variable.unit}".rstrip()

    def _checked(self, variable: MemoryVariable[Any], text: str) -> Behaviour:
        moves = behaviour(text, random.Random(variable.name))
        if moves.source:
            check_name(self.store, moves.source)
        for extreme in moves.extremes:
            self.store.provide(**{variable.name: fitted(variable, extreme)})
        return moves


def fitted(variable: MemoryVariable[Any], value: Any) -> Any:
    """The value as the variable takes it: rounded where it takes whole numbers, True or False where it is a bit."""
    if isinstance(value, enum.Enum):
        value = value.value
    if not isinstance(value, int | float):
        return value
    if variable.kind in ("bool", "coil", "discrete"):
        return bool(round(value))
    fraction = variable.kind.startswith("float") or "scale" in variable.keywords or "offset" in variable.keywords
    return value if fraction else round(value)
