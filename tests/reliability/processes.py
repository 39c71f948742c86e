"""Rows about processes, threads, signals, and the ends of all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from msm import (
    LinkState,
    MemoryStore,
    MemoryVariable,
    ModbusClient,
    ModbusServer,
    StateError,
)
from msm.worker import Ended
from tests.reliability.rows import Scale, check, demand
from tests.support import FREE, Deadline, wait_until

# Python ignores what is raised in these: a finalizer, the callback of a weak reference.
SWALLOWED = ("__del__", "_remove")


class Whole(MemoryStore, size=16):
    """Variables of which each, and all together, show one number: more of them at once are torn."""

    wide = MemoryVariable.uint64(0)
    double = MemoryVariable.uint64(4)
    word = MemoryVariable.word(8)


WRITER = """
import sys
from tests.reliability.processes import Whole
from msm import ModbusClient
mem = Whole()
client = ModbusClient(mem, sys.argv[1], period=0.01)
client.run()
print("ready", flush=True)
number = 0
while True:
    number = (number + 1) % 65536
    with mem.atomic():
        mem.wide = mem.double = number * 0x0001_0001_0001_0001
        mem.word = number
    client.flush()
"""

SERVER = """
import sys
from tests.reliability.processes import Whole
from msm import ModbusServer
mem = Whole()
server = ModbusServer(mem, "tcp://127.0.0.1:0")
server.run()
print(server.endpoint, flush=True)
number = 0
while True:
    number = (number + 1) % 65536
    with mem.atomic():
        mem.wide = mem.double = number * 0x0001_0001_0001_0001
        mem.word = number
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate(timeout=10)


def torn(words: list[int]) -> bool:
    """Nine words, in which one number stands nine times."""
    return len(set(words[:9])) != 1


@check("words and transactions are whole, the other side goes on")
def killed_in_the_middle(scale: Scale) -> tuple[str, str]:
    times = scale.of(60, 3)
    chance = scale.random()
    broken = 0
    served = Whole()
    with ModbusServer(served, FREE) as server:
        for _ in range(times):
            child = start(WRITER, server.endpoint)
            assert line_of(child) == "ready"
            deadline = Deadline(chance.uniform(0.01, 0.1))
            while not deadline.over:
                broken += torn(served[:])
            end(child)
            broken += torn(served[:])
    noticed = 0
    for _ in range(times):
        child = start(SERVER)
        panel = Whole()
        with ModbusClient(panel, line_of(child), period=0.002, timeout=0.5) as client:
            deadline = Deadline(chance.uniform(0.01, 0.1))
            while not deadline.over:
                broken += torn(panel[:])
            end(child)
            wait_until(lambda: client.state is not LinkState.ONLINE)
            noticed += panel.info("word").quality == "stale"
            broken += torn(panel[:])
    said = f"{broken} torn; {noticed} of {times} deaths of a server noticed"
    demand(not broken and noticed == times, said)
    return f"SIGKILL of a client or a server in the middle, {times} times each", said


FORK = """
import os, sys
from msm import MemoryStore, MemoryVariable, ModbusClient, ModbusServer, StateError
class Store(MemoryStore, size=4):
    word = MemoryVariable.word(0)
machine, panel = Store(), Store()
server = ModbusServer(machine, "tcp://127.0.0.1:0"); server.run()
client = ModbusClient(panel, server.endpoint, period=0.01); client.run()
child = os.fork()
if child == 0:
    code = 1
    try:
        client.flush()
    except StateError as error:
        try:
            client.refresh()
        except StateError:
            client.kill(); server.kill()
            code = 0 if "forked" in str(error) else 2
    os._exit(code)
_, status = os.waitpid(child, 0)
panel.word = 7
client.flush()
good = machine.word == 7 and status == 0
client.kill(); server.kill()
sys.exit(0 if good else 1)
"""


@check("the child's doors raise, the parent goes on")
def fork_after_start(scale: Scale) -> tuple[str, str]:
    times = scale.of(30, 2)
    good = sum(
        subprocess.run([sys.executable, "-c", FORK], timeout=60, check=False, stderr=subprocess.DEVNULL).returncode == 0
        for _ in range(times)
    )
    demand(good == times, f"{good} of {times}")
    return f"fork after start, {times} times", f"{good} of {times}"


FORGETFUL = """
import sys, time
from msm import MemoryStore, ModbusClient, ModbusServer
server = ModbusServer(MemoryStore(8), "tcp://127.0.0.1:0"); server.run()
client = ModbusClient(MemoryStore(8), server.endpoint); client.run()
lost = ModbusClient(MemoryStore(8), "tcp://127.0.0.1:9"); lost.run(wait=0)
print("ending", flush=True)
"""


@check("the program ends by itself within 2 s, without a word")
def exit_without_kill(scale: Scale) -> tuple[str, str]:
    times = scale.of(30, 2)
    worst = 0.0
    for _ in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", FORGETFUL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert line_of(child) == "ending"
        began = time.monotonic()
        _, said = child.communicate(timeout=30)
        worst = max(worst, time.monotonic() - began)
        demand(child.returncode == 0 and not said, f"it said {said!r}")
    demand(worst < 2, f"the slowest {worst:.2f} s")
    return f"interpreter exit without kill(), {times} times", f"the slowest {worst:.2f} s"


@check("each under 1 s, no thread left")
def kills(scale: Scale) -> tuple[str, str]:
    """Twice, from other threads, from a callback, in the loop itself, and from signal handlers."""
    times = scale.of(1000, 25)
    chance = scale.random()
    worst = 0.0
    before = threading.active_count()
    for number in range(times):
        machine, panel = Whole(), Whole()
        server = ModbusServer(machine, FREE)
        server.run()
        client = ModbusClient(panel, server.endpoint, period=0.01)
        client.run()
        ways: tuple[Callable[[ModbusClient, Whole], None], ...] = (
            _twice,
            _from_a_thread,
            _from_a_callback,
            _by_signal,
            _by_signal_while_it_waits,
            _in_the_loop_itself,
        )
        began = time.monotonic()
        ways[number % len(ways)](client, panel)
        if chance.random() < 0.5:
            client.kill()
        server.kill()
        server.kill()
        wait_until(lambda: threading.active_count() <= before, timeout=5)
        worst = max(worst, time.monotonic() - began)
    demand(worst < 1, f"the slowest {worst:.2f} s")
    return (
        f"kill() twice, from threads, callbacks, the loop, signal handlers: {times} runs",
        f"the slowest {worst:.2f} s",
    )


def _twice(client: ModbusClient, _panel: Whole) -> None:
    client.kill()
    client.kill()


def _from_a_thread(client: ModbusClient, _panel: Whole) -> None:
    threads = [threading.Thread(target=client.kill) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _from_a_callback(client: ModbusClient, panel: Whole) -> None:
    called = threading.Event()

    def callback(_change: object) -> None:
        client.kill()
        called.set()

    watch = panel.watch("word", callback)
    panel.word = 7
    assert called.wait(10)
    watch.cancel()
    client.kill()


def _by_signal(client: ModbusClient, _panel: Whole) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: client.kill())
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def _by_signal_while_it_waits(client: ModbusClient, panel: Whole) -> None:
    """The handler runs in the middle of `refresh()`."""
    before = signal.signal(signal.SIGALRM, lambda *_: client.kill())
    signal.setitimer(signal.ITIMER_REAL, 0.002)
    try:
        while True:
            panel.word = 5
            client.refresh()
    except StateError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _in_the_loop_itself(client: ModbusClient, _panel: Whole) -> None:
    worker = client._worker
    assert worker is not None

    async def callback() -> None:
        client.kill()

    with suppress(Ended):
        worker.call(callback)


@check("the next call is correct, each time")
def keyboard_interrupts(scale: Scale) -> tuple[str, str]:
    """Ctrl+C at random moments of blocking calls."""
    times = scale.of(1000, 60)
    chance = scale.random()
    machine, panel = Whole(), Whole()
    wrong = hit = number = 0

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_name in SWALLOWED:
            signal.setitimer(signal.ITIMER_REAL, 0.00005)
            return
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ModbusServer(machine, FREE) as server, ModbusClient(panel, server.endpoint, period=60) as client:
            while hit < times and number < 20 * times:
                number += 1
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00005, 0.002))
                    panel.word = number % 65536
                    moment = Deadline(0.05)
                    while not moment.over:
                        (client.flush if chance.random() < 0.5 else client.refresh)()
                except KeyboardInterrupt:
                    hit += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                panel.word = (number + 1) % 65536
                client.flush()
                wrong += machine.word != (number + 1) % 65536
                client.refresh()
                wrong += panel.word != (number + 1) % 65536
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    demand(not wrong and hit == times, f"{wrong} wrong after {hit} interrupts")
    return f"KeyboardInterrupt in blocking calls, {hit} times", f"{wrong} wrong"
