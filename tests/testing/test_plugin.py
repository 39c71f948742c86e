"""The pytest plugin, used as others use it: in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PRESS = """
from msm import AsyncModbusClient, MemoryStore, MemoryVariable

class Press(MemoryStore, size=8):
    speed = MemoryVariable.word(0)
"""

PLAIN = """
def test_device(msm_device, msm_client):
    device = msm_device(Press)
    panel = Press()
    client = msm_client(panel, device)
    panel.speed = 40
    client.flush()
    device.assert_wrote("speed", 40)

def test_server(msm_server, msm_client):
    machine, panel = Press(), Press()
    machine.speed = 7
    msm_client(panel, msm_server(machine))
    assert panel.speed == 7

def test_pair(msm_pair):
    machine, panel = msm_pair(Press)
    assert machine is not panel
    panel.speed = 9
    assert machine.wait_for("speed", lambda speed: speed == 9, timeout=5)
    machine.speed = 10
    assert panel.wait_for("speed", lambda speed: speed == 10, timeout=5)

def test_one_memory_is_no_pair(msm_pair):
    import pytest
    with pytest.raises(ValueError, match="one memory"):
        msm_pair(Press())
"""

ASYNC = """
async def test_device(msm_device):
    device = msm_device(Press)
    panel = Press()
    async with AsyncModbusClient(panel, device.endpoint) as client:
        panel.speed = 40
        await client.flush()
        device.assert_wrote("speed", 40)

async def test_pair(msm_pair):
    machine, panel = msm_pair(Press)
    panel.speed = 9
    await machine.wait_for("speed", lambda speed: speed == 9, timeout=5)
"""

FAILING = """
import threading

def test_that_fails(msm_device, msm_client, msm_server, msm_pair):
    msm_client(Press(), msm_device(Press))
    msm_server(Press())
    msm_pair(Press)
    raise ZeroDivisionError

def test_nothing_is_left():
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
"""

INERT = """
import sys

def test_nothing_was_loaded(request):
    assert request.config.pluginmanager.has_plugin("msm")
    assert "msm.testing.device" not in sys.modules
    assert "msm.testing.clock" not in sys.modules
"""


ANYIO = """
import pytest
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def run(folder: Path, text: str, *options: str) -> str:
    options = options or ("-o", "asyncio_default_fixture_loop_scope=function")
    (folder / "test_it.py").write_text(PRESS + text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options, "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout + done.stderr


def test_in_plain_tests(tmp_path: Path) -> None:
    assert "4 passed" in run(tmp_path, PLAIN)


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_in_async_tests(tmp_path: Path, plugin: str) -> None:
    if plugin == "asyncio":
        said = run(tmp_path, "import pytest\npytestmark = pytest.mark.asyncio\n" + ASYNC)
    else:
        backend = (
            "import pytest\npytestmark = pytest.mark.anyio\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"
        )
        said = run(tmp_path, backend + ASYNC, "-p", "no:asyncio")
    assert "2 passed" in said, said


def test_all_is_ended_though_the_test_fails(tmp_path: Path) -> None:
    said = run(tmp_path, FAILING)
    assert "1 failed, 1 passed" in said, said
    assert "ZeroDivisionError" in said


def test_it_is_inert_until_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(INERT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_a_recording_is_a_device(tmp_path: Path) -> None:
    (tmp_path / "field.jsonl").write_text(
        '{"msm-recording": 1, "started": ""}\n'
        '{"t": 0, "kind": "request", "transaction": 1, "unit": 1, "pdu": "0300000008"}\n'
        '{"t": 0, "kind": "reply", "transaction": 1, "unit": 1, "pdu": "031000280000000000000000000000000000"}\n'
    )
    said = run(
        tmp_path,
        """
def test_it(msm_device, msm_client):
    panel = Press()
    msm_client(panel, msm_device("field.jsonl"))
    assert panel.speed == 40
""",
    )
    assert "1 passed" in said, said
