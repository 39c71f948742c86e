"""Looking at a memory: what is known of one variable, and all of it at one instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, overload

from msm.errors import AccessError, AddressError, UnknownVariableError
from msm.memory.health import Quality
from msm.memory.variable import Bound


@dataclass(frozen=True, slots=True)
class Info:
    """What is known of one variable."""

    name: str
    value: Any
    """What reading the attribute gives."""
    words: tuple[int, ...]
    """The raw words, or bits, that it covers; all of them, also the bits of others."""
    table: str
    address: int
    quality: Quality
    """"good": read and up to date. "stale": the link is down. "bad": the device refuses it. "never": never read."""
    at: float | None
    """When it was last read from a device, in seconds since 1970."""
    error: str
    """What went wrong last, since it was read."""
    unit: str
    label: str


class Snapshot:
    """A memory at one instant, with the same attributes as its store; nothing changes it any more."""

    __slots__ = ("_bound", "_raw", "_words")
    _bound: Mapping[str, Bound]
    _raw: bytes
    _words: int

    def __init__(self, raw: bytes, words: int, bound: Mapping[str, Bound]) -> None:
        object.__setattr__(self, "_raw", raw)
        object.__setattr__(self, "_words", words)
        object.__setattr__(self, "_bound", bound)

    def __getattr__(self, name: str) -> Any:
        bound = self._bound.get(name)
        if bound is None:
            raise UnknownVariableError(f"no variable {name!r} was declared when this snapshot was taken")
        offset, size, _ = bound.region
        return bound.codec.decode(self._raw[offset : offset + size])

    def __setattr__(self, name: str, value: object) -> None:
        raise AccessError(f"{name}: a snapshot cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AccessError(f"{name}: a snapshot cannot be changed")

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> list[int]: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, str):
            return getattr(self, key)
        if isinstance(key, slice):
            addresses = range(self._words)[key]
            return [self._word(address) for address in addresses]
        if not 0 <= key < self._words:
            raise AddressError(f"address {key} is outside the snapshot, which has words 0 to {self._words - 1}")
        return self._word(key)

    def _word(self, address: int) -> int:
        return self._raw[2 * address] << 8 | self._raw[2 * address + 1]

    def __contains__(self, name: object) -> bool:
        return name in self._bound

    def __iter__(self) -> Iterator[int]:
        return iter(self[:])

    def __len__(self) -> int:
        return self._words

    def as_dict(self) -> dict[str, Any]:
        """The values of all variables by name."""
        return {name: getattr(self, name) for name in self._bound}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in list(self.as_dict().items())[:20])
        return f"<Snapshot: {values}>"
