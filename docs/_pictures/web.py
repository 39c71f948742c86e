"""Takes the pictures of the web page that the documentation shows: `nox -s pictures`."""

from __future__ import annotations

import math
import subprocess
import tempfile
import time
from pathlib import Path

from tests.web.browser import PHONE, SETUP, Browser, row
from tests.web.press import Mode, Press, keep_locked

from msm import ModbusClient, web
from msm.testing import FakeDevice

STATIC = Path(__file__).parent.parent / "_static"
MINUTE = 75.0  # seconds: a trend needs something to show


def press() -> FakeDevice:
    """A press that works."""
    device = FakeDevice(Press, before_write=keep_locked)
    device.follow("temperature", lambda t: 62 + 5 * math.sin(t / 9) + 0.4 * math.sin(t * 2.1))
    device.follow("pressure", lambda t: 118 + 7 * math.sin(t / 5) + 1.5 * math.sin(t * 1.7))
    device.follow("speed", lambda t: 1450 + 40 * math.sin(t / 7 + 1))
    device.follow("pieces", lambda t: 18_000 + int(t * 2))
    device.mem.provide(door=True)
    device.mem.setpoint, device.mem.mode, device.mem.recipe = 1450, Mode.AUTOMATIC, "LID-40"
    device.mem.pump = device.mem.lamp = True
    device.mem.limits = (10, 20, 30)
    return device


def take(browser: Browser, name: str) -> None:
    """One picture of what the browser shows."""
    browser.screenshot(STATIC / f"{name}.png", animations="disabled")


def main() -> None:
    """Take them all."""
    with (
        press() as device,
        ModbusClient(mem := Press(), device.endpoint, timeout=0.5) as client,
        web.serve(mem, port=0, client=client, title="Press 4") as hmi,
        tempfile.TemporaryDirectory() as profile,
        Browser(Path(profile)) as browser,
    ):
        time.sleep(MINUTE)

        def opened(size: tuple[int, int], colours: str) -> None:
            browser.open(hmi.url, size, colours)
            browser.wait_for_text("#state", "online")
            browser.wait("document.querySelector('#plot canvas')")

        opened((1280, 960), "light")
        browser.click(row("locked") + " .edit")
        browser.write("5")
        browser.press("Enter")
        browser.wait_for_text("#variables", "rejected")
        browser.click(row("setpoint") + " .edit")
        browser.write("1480")
        browser.press("Enter")
        browser.wait_for_text("#variables", "acknowledged")
        browser.evaluate("scrollTo(0, 0)")
        time.sleep(0.6)
        take(browser, "web-light")
        browser.evaluate("document.querySelector('#search').closest('.card').scrollIntoView()")
        take(browser, "web-writes")

        opened((1280, 800), "dark")
        browser.click("#tab-memory")
        browser.wait("document.querySelector('#layout').naturalWidth > 300")
        take(browser, "web-memory")

        opened(PHONE, "dark")
        time.sleep(0.6)
        take(browser, "web-phone")
        device.kill()
        browser.wait_for_text("#notice", "does not answer")
        time.sleep(2.5)
        take(browser, "web-phone-offline")
        browser.call("page.goto", "about:blank")


if __name__ == "__main__":
    subprocess.run([str(SETUP)], check=True)
    main()
