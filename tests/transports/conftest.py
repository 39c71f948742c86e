"""Every transport, as a server and a client are told of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.transports.lines import Cable

TRANSPORTS = ("tcp", "tls", "udp", "rtu", "ascii", "rtu+tcp", "ascii+tcp", "memory")
_names = itertools.count()


@dataclass
class Way:
    """A transport: where a server listens, where a client finds it, and what both are told besides."""

    scheme: str
    listen: str
    server: dict[str, Any] = field(default_factory=dict)
    client: dict[str, Any] = field(default_factory=dict)
    other_end: str = ""
    """Of a serial line: the port of the client."""

    @property
    def is_serial(self) -> bool:
        return self.scheme in ("rtu", "ascii")

    @property
    def framing(self) -> str:
        kind = self.scheme.removesuffix("+tcp")
        return kind if kind in ("rtu", "ascii") else "mbap"

    def to(self, endpoint: str) -> str:
        """Where a client finds the server that is bound at `endpoint`."""
        return self.other_end or endpoint


@pytest.fixture(params=TRANSPORTS)
def way(request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates) -> Iterator[Way]:
    scheme = request.param
    with ExitStack() as stack:
        if scheme in ("rtu", "ascii"):
            cable = stack.enter_context(Cable(tmp_path))
            ends = [f"{scheme}://{end.path}?baudrate=115200" for end in cable.ends]
            yield Way(scheme, ends[0], other_end=ends[1])
        elif scheme == "memory":
            yield Way(scheme, f"memory://way {next(_names)}")
        elif scheme == "tls":
            yield Way(
                scheme, "tls://127.0.0.1:0", server={"tls": certificates.server}, client={"tls": certificates.client}
            )
        else:
            yield Way(scheme, f"{scheme}://127.0.0.1:0")
