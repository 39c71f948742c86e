"""The page in a real browser, as a person uses it: with a mouse, a phone, the keyboard, by day and by night."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from msm import MemoryStore, MemoryVariable, ModbusClient, web
from msm.testing import FakeDevice, FaultProxy, late
from tests.support import FREE, wait_until
from tests.web.browser import PHONE, Browser, row
from tests.web.press import Alarms, Mode, Press, keep_locked

VARIABLES = 13
READY = f"document.querySelectorAll('tbody tr').length === {VARIABLES}"
CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = rgb(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest("noscript, .u-wrap, option")) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found[`${element.className || element.tagName}: ${element.textContent.slice(0, 30)}`] = ratio;
  }
  return found;
})()"""


class Stand:
    """A press, a client, a page, and the line between press and client."""

    def __init__(self, stack: ExitStack, browser: Browser) -> None:
        self.browser = browser
        self.device = stack.enter_context(FakeDevice(Press, before_write=keep_locked))
        self.device.mem.provide(temperature=62.5, pressure=118.0, speed=1450.0, pieces=18000, door=True)
        self.device.mem.mode = Mode.MANUAL
        self.device.mem.setpoint = 1450
        self.mem = Press()
        self.client = stack.enter_context(
            ModbusClient(self.mem, self.device.endpoint, period=0.05, timeout=0.5, backoff=lambda: iter([0.05] * 1000))
        )
        self.hmi = stack.enter_context(web.serve(self.mem, port=0, client=self.client, title="Press 4", period=0.05))

    def open(self, **keywords: object) -> Browser:
        self.browser.open(self.hmi.url, **keywords)  # type: ignore[arg-type]
        self.browser.wait(READY)
        self.browser.wait_for_text("#state", "online")
        return self.browser

    def value(self, name: str, shown: str) -> None:
        """Wait until the table shows this value."""
        self.browser.wait(f"{find(name)}.querySelector('.value').innerText === {json.dumps(shown)}")

    def fate(self, name: str, told: str) -> None:
        """Wait until the table tells this of the last write."""
        self.browser.wait(f"{find(name)}.querySelector('.fate').innerText.includes({json.dumps(told)})")


def find(name: str) -> str:
    """A variable's row, in JavaScript."""
    rows = "[...document.querySelectorAll('tbody tr')]"
    return f"{rows}.find((row) => row.querySelector('.name').textContent === {json.dumps(name)})"


@pytest.fixture
def stand(browser: Browser) -> Iterator[Stand]:
    with ExitStack() as stack:
        yield Stand(stack, browser)
        assert browser.complaints == []
        browser.call("page.goto", "about:blank")


def test_values_move(stand: Stand) -> None:
    page = stand.open()
    assert page.text("#title") == "Press 4"
    stand.value("temperature", "62.5")
    page.wait("document.querySelector('.tile .value').innerText === '62.5'")
    stand.device.mem.provide(temperature=71.25, door=False)
    stand.value("temperature", "71.25")
    stand.value("door", "off")
    page.wait("document.querySelector('.tile .value').innerText === '71.25'")


def test_a_number_is_set_and_arrives_at_the_device(stand: Stand) -> None:
    page = stand.open()
    page.click(row("setpoint") + " .edit")
    assert page.text(row("setpoint") + " .hint") == "0 to 3000"
    page.write("1500")
    page.press("Enter")
    stand.fate("setpoint", "acknowledged")
    stand.device.assert_wrote("setpoint", 1500)
    stand.device.assert_wrote_only("setpoint")
    stand.value("setpoint", "1500")


def test_bits_are_switches_and_enums_are_menus(stand: Stand) -> None:
    page = stand.open()
    page.click(row("pump") + " [role=switch]")
    stand.fate("pump", "acknowledged")
    page.click(row("lamp") + " [role=switch]")
    stand.fate("lamp", "acknowledged")
    page.call("page.selectOption", row("mode") + " select", "AUTOMATIC")
    stand.fate("mode", "acknowledged")
    page.click(row("alarms") + " .flag:text-is('HOT')")
    stand.fate("alarms", "acknowledged")
    page.wait(f"{find('alarms')}.querySelector('[aria-pressed=true]')?.innerText === 'HOT'")
    page.click(row("alarms") + " .flag:text-is('OIL')")
    wait_until(lambda: stand.device.mem.alarms == Alarms.HOT | Alarms.OIL)
    stand.device.assert_wrote("pump", True)
    stand.device.assert_wrote("lamp", True)
    stand.device.assert_wrote("mode", Mode.AUTOMATIC)
    page.wait(f"{find('pump')}.querySelector('[role=switch]').ariaChecked === 'true'")


def test_a_write_is_pending_until_the_device_has_answered(stand: Stand) -> None:
    page = stand.open()
    stand.device.then(late(0.4), on="write")
    page.click(row("pump") + " [role=switch]")
    stand.fate("pump", "pending")
    stand.fate("pump", "acknowledged")


def test_a_rejected_write_shows_its_cause(stand: Stand) -> None:
    page = stand.open()
    page.click(row("locked") + " .edit")
    page.write("5")
    page.press("Enter")
    stand.fate("locked", "rejected")
    stand.fate("locked", "exception 03: illegal data value")
    stand.value("locked", "0")  # what the device has
    page.click(row("locked") + " [aria-label=Dismiss]")
    page.wait(f"{find('locked')}.querySelector('.fate').innerText === ''")


def test_what_does_not_fit_is_told_and_the_field_stays_open(stand: Stand) -> None:
    page = stand.open()
    page.click(row("setpoint") + " .edit")
    page.write("9999")
    page.press("Enter")
    stand.fate("setpoint", "outside its limits")
    assert page.evaluate("document.activeElement.value") == "9999"
    assert page.evaluate("document.activeElement.ariaInvalid") == "true"
    page.press("Escape")
    stand.value("setpoint", "1450")
    stand.device.assert_wrote_only()


def test_the_device_goes_and_comes_back(browser: Browser) -> None:
    with ExitStack() as stack:
        device = stack.enter_context(FakeDevice(Press))
        device.mem.provide(pieces=7)
        link = FaultProxy(device.endpoint)
        link.__enter__()
        mem = Press()
        client = ModbusClient(mem, link.endpoint, period=0.05, timeout=0.3, backoff=lambda: iter([0.05] * 1000))
        stack.enter_context(client)
        hmi = stack.enter_context(web.serve(mem, port=0, client=client, period=0.05))
        browser.open(hmi.url)
        browser.wait_for_text("#state", "online")
        browser.wait(f"{find('pieces')}.dataset.quality === 'good'")

        link.__exit__(None, None, None)
        browser.wait_for_text("#notice", "The device does not answer.")
        browser.wait_for_text("#state", "offline")
        browser.wait(f"{find('pieces')}.dataset.quality === 'stale'")
        assert browser.text(row("pieces") + " .value") == "7"
        browser.click(row("pump") + " [role=switch]")
        browser.wait(f"{find('pump')}.querySelector('.fate').innerText.includes('expired')")

        with FaultProxy(device.endpoint, link.endpoint):
            browser.wait_for_text("#state", "online")
            browser.wait("document.querySelector('#notice').innerText === ''")
            browser.wait(f"{find('pieces')}.dataset.quality === 'good'")
            device.assert_wrote_only()  # what has expired is not sent late
            browser.call("page.goto", "about:blank")


def test_the_server_goes_and_comes_back(browser: Browser) -> None:
    mem = Press()
    first = web.serve(mem, port=0, period=0.05)
    browser.open(first.url)
    browser.wait_for_text("#state", "own memory")
    first.kill()
    browser.wait_for_text("#notice", "The server of this page does not answer.")
    browser.click(row("pump") + " [role=switch]")
    browser.wait(f"{find('pump')}.querySelector('.fate').innerText.includes('the server does not answer')")
    mem.setpoint = 77
    with web.serve(mem, port=int(first.endpoint.rpartition(":")[2]), period=0.05):
        browser.wait_for_text("#state", "own memory")
        browser.wait("document.querySelector('#notice').innerText === ''")
        browser.wait(f"{find('setpoint')}.querySelector('.value').innerText === '77'")
        browser.call("page.goto", "about:blank")
    assert mem.pump is False


def test_on_a_phone_all_of_it_is_there(stand: Stand) -> None:
    page = stand.open(size=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    small = page.evaluate(
        """[...document.querySelectorAll("button, select, input")]
          .filter((each) => each.checkVisibility())
          .map((each) => [each.className || each.id, each.getBoundingClientRect()])
          .filter(([, box]) => box.height < 32 || box.width < 32).map(([name]) => name)"""
    )
    assert small == []
    page.click(row("setpoint") + " .edit")
    page.write("900")
    page.click(row("setpoint") + " .primary")
    stand.fate("setpoint", "acknowledged")
    stand.device.assert_wrote("setpoint", 900)
    page.click("#tab-memory")
    page.wait("document.querySelector('#layout').naturalWidth > 300")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_the_keyboard_is_enough(stand: Stand) -> None:
    page = stand.open()
    page.press("/")
    page.write("wanted")  # of the label
    page.wait("document.querySelectorAll('tbody tr:not([hidden])').length === 1")
    page.press("Tab", "Enter")
    page.write("1234")
    page.press("Enter")
    stand.fate("setpoint", "acknowledged")
    stand.device.assert_wrote("setpoint", 1234)
    assert "edit" in page.evaluate("document.activeElement.className")  # where it was
    page.press("/", "Escape")
    page.wait(READY.replace("tr'", "tr:not([hidden])'"))
    page.write("pump")
    page.press("Tab", "Space")
    stand.fate("pump", "acknowledged")
    page.call("page.focus", "#tab-values")
    page.press("ArrowRight", "ArrowRight")
    page.wait("document.querySelector('#panel-link').checkVisibility()")
    assert "Requests" in page.text("#health")
    page.press("ArrowRight")
    page.wait("document.querySelector('#panel-values').checkVisibility()")


def test_dark_is_as_the_system_says_until_somebody_chooses(stand: Stand) -> None:
    page = stand.open(colours="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.call("page.reload")
    page.wait(READY)
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.click("#theme")
    page.call("page.evaluate", "localStorage.removeItem('msm-theme')")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_text_has_enough_contrast(stand: Stand, colours: str) -> None:
    page = stand.open(colours=colours)
    page.click(row("locked") + " .edit")
    page.write("5")
    page.press("Enter")
    stand.fate("locked", "rejected")
    page.click(row("alarms") + " .flag:text-is('HOT')")
    stand.fate("alarms", "acknowledged")
    page.click(row("setpoint") + " .edit")
    assert page.evaluate(CONTRAST) == {}
    page.click("#tab-link")
    page.wait_for_text("#health", "Requests")
    assert page.evaluate(CONTRAST) == {}
    page.click("#tab-values")
    stand.device.kill()
    page.wait_for_text("#notice", "The device does not answer.")
    assert page.evaluate(CONTRAST) == {}


def test_the_trend_shows_what_is_chosen(stand: Stand) -> None:
    page = stand.open()
    page.wait("document.querySelector('#plot canvas')")
    assert page.text("#trend-names").split() == ["temperature", "pressure"]
    page.click(row("speed") + " .trend")
    page.wait("document.querySelectorAll('#trend-names .chip').length === 3")
    page.click("[aria-label='Take temperature out of the trend']")
    page.wait("document.querySelectorAll('#trend-names .chip').length === 2")
    page.call("page.reload")
    page.wait(READY)
    page.wait("document.querySelectorAll('#trend-names .chip').length === 2")
    assert page.text("#trend-names").split() == ["pressure", "speed"]
    page.call("page.hover", "#plot .u-over")
    page.wait("[...document.querySelectorAll('.at-cursor')].every((each) => each.innerText !== '')")
    page.call("page.evaluate", "localStorage.clear()")


def test_tiles_are_pinned_and_stay(stand: Stand) -> None:
    page = stand.open()
    page.click(row("lamp") + " .pin")
    page.wait("document.querySelector('#tiles').innerText.includes('The lamp on the panel')")
    page.call("page.reload")
    page.wait(READY)
    page.wait("document.querySelector('#tiles').innerText.includes('The lamp on the panel')")
    page.call("page.evaluate", "localStorage.clear()")


def test_a_read_only_page_has_nothing_to_press(browser: Browser) -> None:
    with web.serve(Press(), port=0, read_only=True) as hmi:
        browser.open(hmi.url)
        browser.wait(READY)
        assert browser.text("#read-only") == "read-only"
        assert browser.evaluate("document.querySelectorAll('.cell-value :is(button, input, select)').length") == 0
        assert browser.complaints == []
        browser.call("page.goto", "about:blank")


def test_the_token_lets_the_page_in(browser: Browser) -> None:
    with web.serve(Press(), port=0, token="correct-horse") as hmi:
        browser.open(hmi.endpoint)
        browser.wait_for_text("h1", "Log in")
        browser.write("wrong horse")
        browser.press("Enter")
        browser.wait_for_text(".wrong", "That is not the token.")
        assert browser.evaluate(CONTRAST) == {}
        browser.write("correct-horse")
        browser.press("Enter")
        browser.wait(READY)
        browser.open(hmi.url)
        browser.wait(READY)
        assert "token" not in browser.evaluate("location.href")
        browser.call("page.goto", "about:blank")


def test_a_password_lets_the_page_in_and_its_websocket_too(browser: Browser) -> None:
    with web.serve(Press(), port=0, basic=("anna", "long enough")) as hmi:
        browser.open(hmi.endpoint.replace("http://", "http://anna:long%20enough@"))
        browser.wait(READY)
        assert browser.complaints == []
        browser.call("page.goto", "about:blank")


def test_what_a_device_says_is_text_and_nothing_comes_from_elsewhere(browser: Browser) -> None:
    evil = "<img src=x onerror=alert(1)>"
    mem = MemoryStore(16)
    mem[f"{evil}"] = MemoryVariable.string(0, 32, label=evil)
    mem.number = MemoryVariable.word(15, unit="<script>alert(2)</script>")
    mem[evil] = evil
    with web.serve(mem, port=0, title=evil) as hmi:
        browser.open(hmi.url)
        browser.wait("document.querySelectorAll('tbody tr').length === 2")
        assert browser.text("#title") == evil
        assert browser.text("tbody .value") == evil
        assert browser.evaluate("document.querySelectorAll('tbody img, tbody script').length") == 0
        loaded = browser.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
        assert any("uPlot" in url for url in loaded)
        assert [url for url in loaded if not url.startswith(hmi.endpoint)] == []
        browser.click("#tab-memory")
        browser.wait("document.querySelector('#layout').naturalWidth > 300")
        assert browser.complaints == []
        browser.call("page.goto", "about:blank")


def test_no_module_of_the_page_makes_html_of_data() -> None:
    from msm.web.app import STATIC

    for path in STATIC.glob("*.js"):
        text = path.read_text("utf-8")
        found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
        assert not found, path.name


def test_the_page_of_a_server_s_own_memory(browser: Browser) -> None:
    """Beside a program that is the device: there is no client, and what is set is set."""
    from msm import ModbusServer

    mem = Press()
    with ModbusServer(mem, FREE), web.serve(mem, port=0, period=0.05) as hmi:
        browser.open(hmi.url)
        browser.wait_for_text("#state", "own memory")
        browser.click(row("pump") + " [role=switch]")
        browser.wait(f"{find('pump')}.querySelector('.fate').innerText.includes('set')")
        assert mem.pump is True
        browser.click("#tab-link")
        browser.wait_for_text("#health", "the program's own")
        browser.call("page.goto", "about:blank")
