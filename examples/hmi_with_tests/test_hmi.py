"""The panel, tested without a press: `python -m pytest` in this directory."""

import time

import pytest
from hmi import Panel
from press import START, STOP, Press, State

from msm.testing import FaultProxy, ignored, refused


def wait_until(condition, seconds=5.0):
    """Wait for something that is no change of a value; for those there is `wait_for()`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def starting(mem):
    """What the press does on the command to start."""
    mem.provide(state=State.STARTING)
    yield 0.05
    mem.provide(state=State.RUNNING, speed=mem.set_speed)


def stopping(mem):
    mem.provide(state=State.IDLE, speed=0.0)
    return
    yield


@pytest.fixture
def device(msm_device):
    device = msm_device(Press)
    device.sequence("command", START, starting)
    device.sequence("command", STOP, stopping)
    return device


@pytest.fixture
def panel(device, msm_client):
    press = Press()
    return Panel(press, msm_client(press, device, timeout=0.3))


def test_start_sets_the_speed_first(panel, device):
    panel.start(40.0)
    device.assert_wrote("set_speed", 40.0)
    device.assert_wrote("command", START)
    device.assert_wrote_only("set_speed", "command")
    assert [write.name for write in device.writes] == ["set_speed", "command"]
    assert panel.press.wait_for("state", lambda state: state is State.RUNNING, timeout=5)
    panel.client.refresh()
    assert panel.display() == "RUNNING    40 rpm"


def test_a_press_that_refuses_is_not_started(panel, device):
    device.then(refused(3), on="write")
    panel.start(40.0)
    device.assert_not_wrote("command")
    assert panel.message.startswith("not started")


def test_a_press_that_does_not_answer_is_not_started(panel, device):
    device.by_chance(1, ignored())
    panel.start(40.0)
    device.assert_not_wrote("command")
    assert "not started" in panel.display()


def test_too_much_pressure_stops_it(panel, device):
    panel.start(40.0)
    panel.press.wait_for("state", lambda state: state is State.RUNNING, timeout=5)
    device.mem.provide(pressure=6.5)
    panel.press.wait_for("pressure", lambda pressure: pressure > 6.0, timeout=5)
    panel.watch_pressure()
    device.assert_wrote("command", STOP, timeout=5)
    assert panel.message == "stopped: 6.5 bar"


def test_a_dead_link_is_shown(device, msm_client):
    press = Press()
    with FaultProxy(device.endpoint) as line:
        panel = Panel(press, msm_client(press, line, timeout=0.2))
        assert panel.display() == "IDLE        0 rpm"
    # The line is gone; the value is held, and is not shown as if it were fresh.
    wait_until(lambda: panel.display() == "----      --- rpm")
