"""Who may do what over TLS: the rights of each role (Modbus/TCP Security V3.6, section 8.4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from msm.errors import DeclarationError
from msm.memory.image import TableName

Roles: TypeAlias = "Mapping[str | None, Sequence[Allow]]"

READS = (1, 2, 3, 4)
"""The functions that read memory."""
WRITES = (5, 6, 15, 16, 22)
"""The functions that write memory."""
_TABLES = ("holding", "input", "coil", "discrete")

Spans: TypeAlias = Sequence[tuple[str, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """One right of a role: these functions, and where they read or write memory, only there.

    :raises DeclarationError: something here is no function, table or address.

    ::

        roles = {
            "Operator": [Allow(functions=READS), Allow(functions=(6, 16), table="holding", first=0, last=9)],
            None: [Allow(functions=READS, last=99)],  # certificates without a role
        }
    """

    functions: Collection[int]
    """Function codes, 1 to 127; `READS` and `WRITES` are names for those of memory."""
    table: TableName | None = None
    """The table; None for all four."""
    first: int = 0
    """The first address that may be read or written."""
    last: int = 65535
    """The last one."""
    units: Collection[int] | None = None
    """The units; None for all that the server has."""

    def __post_init__(self) -> None:
        if not self.functions:
            raise DeclarationError("Allow: there are no functions")
        for function in self.functions:
            if isinstance(function, bool) or not isinstance(function, int) or not 1 <= function <= 127:
                raise DeclarationError(f"Allow: {function!r} is not a function code from 1 to 127")
        if self.table is not None and self.table not in _TABLES:
            raise DeclarationError(f"Allow: table={self.table!r} is none of {', '.join(map(repr, _TABLES))}")
        if not 0 <= self.first <= self.last <= 65535:
            raise DeclarationError(f"Allow: first={self.first}, last={self.last} is no range of addresses 0 to 65535")

    def covers(self, unit: int, function: int, span: tuple[str, int, int] | None) -> bool:
        """May this function be asked of this unit, for this span of a table?"""
        if function not in self.functions or (self.units is not None and unit not in self.units):
            return False
        if span is None:
            return True
        table, address, count = span
        return self.table in (None, table) and self.first <= address and address + count - 1 <= self.last


def permitted(roles: Roles, role: str | None, unit: int, function: int, spans: Spans) -> bool:
    """Is a request allowed? Each span that it reads or writes has to lie within one right.

    :param role: of the client's certificate; None where it has none.
    :param spans: (table, address, count) of what it reads and writes.
    """
    rights = roles.get(role, ())
    return all(any(right.covers(unit, function, span) for right in rights) for span in spans or (None,))


def check_roles(roles: object) -> None:
    """Are these roles and their rights?

    :raises DeclarationError: they are not.
    """
    if not isinstance(roles, Mapping):
        raise DeclarationError(f"roles={roles!r} is not a mapping of roles to lists of Allow")
    for role, rights in roles.items():
        if role is not None and not isinstance(role, str):
            raise DeclarationError(f"roles: {role!r} is neither the name of a role nor None")
        if isinstance(rights, Allow) or not all(isinstance(right, Allow) for right in rights):
            raise DeclarationError(f"roles: what {role!r} may do is not a list of Allow")
