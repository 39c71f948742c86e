"""For tests of programs that use MSM: devices that are not there, lines that fail, time that takes no time.

The pytest plugin gives fixtures for them: see `msm.pytest_plugin`.
"""

from msm.testing.clock import VirtualLoop, VirtualTimeError, run_virtual
from msm.testing.device import ANYTHING, Exchange, FakeDevice, Wrote
from msm.testing.faults import (
    QUIET,
    Fault,
    Faults,
    busy,
    cut,
    doubled,
    fine,
    ignored,
    late,
    lost,
    refused,
    wrong,
)
from msm.testing.link import FaultProxy, FaultyLink
from msm.testing.recording import Recording, RecordingError, recorded

__all__ = [
    "FakeDevice", "Exchange", "Wrote", "ANYTHING",
    "Fault", "fine", "ignored", "lost", "late", "refused", "busy", "wrong", "cut", "doubled",
    "FaultyLink", "FaultProxy", "Faults", "QUIET",
    "Recording", "RecordingError", "recorded",
    "VirtualLoop", "VirtualTimeError", "run_virtual",
]  # fmt: skip
