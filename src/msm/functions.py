"""What a server may answer beside its memory: the functions that do not move words and bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field

from msm.errors import DeclarationError

FILE_RECORDS = 10000  # application protocol V1.1b3, section 6.14
LONGEST_OBJECT = 244  # bytes: what one reply of function 43/14 has room for
LONGEST_SERVER_ID = 250  # bytes: PDU, less function, byte count and run indicator
_MANDATORY = (0, 1, 2)  # vendor name, product code, revision (section 6.21)


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """What a server answers beside its memory, by function code; all of it is off until it is given here.

    :raises DeclarationError: something here cannot be answered as it is; the message names it.

    ::

        ModbusServer(mem, functions=Functions(identification={0: "Maker", 1: "P-100", 2: "V1.4"}))
    """

    identification: Mapping[int, str | bytes] = field(default_factory=dict)
    """Function 43/14: texts by object id. 0 vendor name, 1 product code and 2 revision are a must; 3 to 6 are vendor
    URL, product name, model name and user application name; 128 to 255 are your own. At most 244 bytes each."""
    server_id: str | bytes | None = None
    """Function 17: what the device calls itself, at most 250 bytes."""
    exception_status: Callable[[], int] | None = None
    """Function 07: gives eight bits, 0 to 255. It is called in a thread of its own, and may take its time."""
    files: Mapping[int, MutableSequence[int]] = field(default_factory=dict)
    """Functions 20 and 21: words by file number, 1 to 65535. Each file is a list, an `array`, or whatever of yours has
    a length and takes slices, which is then used in a thread of its own. It has at most 10,000 words, and its
    length does not change."""
    fifos: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Function 24: queues of words by their address, 0 to 65535, for example a `deque`. Reading does not empty them."""
    diagnostics: bool = False
    """Functions 11 and 12, and on serial lines 08: counters and the log of what was received and answered."""
    diagnostic_register: Callable[[], int] | None = None
    """Function 08/02: gives a word of your own, 0 to 65535, at once. Needs `diagnostics`."""

    def __post_init__(self) -> None:
        for number, text in self.identification.items():
            _number("identification object", number, 0, 255)
            _text(f"identification object {number}", text, LONGEST_OBJECT)
        missing = [number for number in _MANDATORY if number not in self.identification]
        if self.identification and missing:
            raise DeclarationError(
                f"identification: object {missing[0]} is missing; vendor name (0), product code (1) and revision (2) "
                "are a must"
            )
        if self.server_id is not None:
            _text("server_id", self.server_id, LONGEST_SERVER_ID)
        for number, file in self.files.items():
            _number("file", number, 1, 65535)
            try:
                file[0:0] = file[0:0]
            except Exception as error:
                kind = type(file).__name__
                raise DeclarationError(f"file {number}: {kind} is no list of words that can be changed") from error
            if getattr(file, "typecode", "L") not in "HIiLlQq" or isinstance(file, bytearray):
                raise DeclarationError(f"file {number}: it has no room for words from 0 to 65535")
            if len(file) > FILE_RECORDS:
                raise DeclarationError(f"file {number}: {len(file)} words are more than {FILE_RECORDS}")
        for address in self.fifos:
            _number("FIFO address", address, 0, 65535)
        for name in ("exception_status", "diagnostic_register"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise DeclarationError(f"{name}={given!r} cannot be called; give a function that returns the bits")
        if not isinstance(self.diagnostics, bool):
            raise DeclarationError(f"diagnostics={self.diagnostics!r} is not a bool")
        if self.diagnostic_register is not None and not self.diagnostics:
            raise DeclarationError("diagnostic_register is answered by function 08: it needs diagnostics=True")


def encoded(text: str | bytes) -> bytes:
    """A text as it travels."""
    return text if isinstance(text, bytes) else text.encode("utf-8")


def _number(what: str, number: object, low: int, high: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise DeclarationError(f"{what} {number!r} is not a whole number from {low} to {high}")


def _text(what: str, text: object, most: int) -> None:
    if not isinstance(text, (str, bytes)):
        raise DeclarationError(f"{what}: {text!r} is neither str nor bytes")
    size = len(encoded(text))
    if size > most:
        raise DeclarationError(f"{what}: {size} bytes are more than {most}")
