"""What a device can do: learnt from what it refuses, and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msm.exchange.plan import WIDTH, MaskWrite, Read, Write

ILLEGAL_FUNCTION = 1
SILENT_MASK_WRITES = 3  # none ever answered, while it answers all else: it drops function 22 and does not say so


class Features:
    """Which write functions a device has.

    :param function: "single": only 05 and 06. "multiple": only 15 and 16. "auto": words by 16, single coils by 05,
        and the other one where the device does not have that.
    """

    def __init__(self, function: Literal["auto", "single", "multiple"] = "auto") -> None:
        self.mask_write = True
        """Function 22; without it part of a word is read, changed and written back."""
        self._forced = function
        self._missing: set[tuple[int, bool]] = set()
        self._mask_writes_done = False
        self._silent_mask_writes = 0

    def by_single(self, request: Write) -> bool:
        """Is this write to be sent by function 05 or 06?"""
        if request.cells != 1 or self._forced == "multiple":
            return False
        width = WIDTH[request.table]
        if self._forced == "single" or (width, False) in self._missing:
            return True
        return width == 1 and (width, True) not in self._missing

    def write_limits(self, limits: Mapping[str, int]) -> Mapping[str, int]:
        """How many cells of each table one request may write."""
        if self._forced != "single" and not self._missing:
            return limits
        return {
            table: 1 if self._forced == "single" or (WIDTH[table], False) in self._missing else limit
            for table, limit in limits.items()
        }

    def done(self, request: Read | Write | MaskWrite) -> None:
        """The device did it."""
        self._mask_writes_done = self._mask_writes_done or isinstance(request, MaskWrite)

    def unanswered(self, request: Read | Write | MaskWrite) -> None:
        """There was no reply. Some devices drop what they do not know, and refuse nothing.

        Between two writes the device was read, so it is there.
        """
        if isinstance(request, MaskWrite) and not self._mask_writes_done:
            self._silent_mask_writes += 1
            if self._silent_mask_writes >= SILENT_MASK_WRITES:
                self.mask_write = False

    def learn(self, request: Read | Write | MaskWrite, *, single: bool, code: int) -> bool:
        """A write was refused. Returns whether there is another function to try it with."""
        if code != ILLEGAL_FUNCTION or isinstance(request, Read):
            return False
        if isinstance(request, MaskWrite):
            self.mask_write = False
            return True
        width = WIDTH[request.table]
        tried = (width, single)
        if self._forced != "auto" or tried in self._missing or (width, not single) in self._missing:
            return False
        if single and request.cells != 1:
            return False
        self._missing.add(tried)
        return True
