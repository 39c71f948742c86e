"""Measures one thing after the other: each contender in turn, round by round, so that all have the same bad moments."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PATIENCE = 60.0  # seconds


@dataclass
class Series:
    """What one contender reached in one scenario: one figure for each round."""

    figures: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.figures)


Results = dict[str, dict[str, Series]]  # scenario -> contender -> figures


def build(folder: Path) -> dict[str, str]:
    """Compile the programs in C; returns their paths by name."""
    paths = {}
    for source in sorted((HERE / "c").glob("*.c")):
        target = folder / source.stem
        libraries = ["-lmodbus"] if "libmodbus" in source.stem else []
        compiler = os.environ.get("CC", "gcc")
        subprocess.run([compiler, "-O2", "-o", str(target), str(source), *libraries], check=True)
        paths[source.stem] = str(target)
    return paths


class Child(NamedTuple):
    """A server that is measured."""

    port: int
    pid: int

    @property
    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU that it has used, itself and in the kernel; 0 where the system does not say."""
        try:
            used = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0, 0.0
        tick = os.sysconf("SC_CLK_TCK")
        return int(used[11]) / tick, int(used[12]) / tick

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let it run for a while. It was `stopped` before, and is again."""
        os.kill(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Hold it up, so that it takes nothing from the others."""
        os.kill(self.pid, signal.SIGSTOP)

    @property
    def kilobytes(self) -> float:
        """Memory that it holds; 0 where the system does not say."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        except OSError:
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024


@contextmanager
def server(command: list[str]) -> Iterator[Child]:
    """A server in a process of its own."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert child.stdout is not None
        yield Child(int(child.stdout.readline()), child.pid)
    finally:
        child.kill()
        child.communicate(timeout=PATIENCE)


def figures_of(command: list[str]) -> list[float]:
    """The numbers that a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 4, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return [float(word) for word in done.stdout.split()]


@dataclass
class Plan:
    """How thoroughly."""

    rounds: int
    seconds: float
    programs: dict[str, str]
    say: Callable[[str], None]

    def python(self, script: str, *arguments: object) -> list[str]:
        return [sys.executable, str(HERE / script), *map(str, arguments)]


def available(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that can be measured here: uvloop may not be installed."""
    fast = importlib.util.find_spec("uvloop") is not None
    return tuple(name for name in names if fast or not name.endswith("uvloop"))


SERVERS = (
    "C, epoll",
    "libmodbus",
    "asyncio, bare",
    "msm",
    "msm uvloop",
    "msm, an application writes",
    "pymodbus",
    "pyModbusTCP",
    "uModbus",
)
# What they cannot do, or do so slowly that one measurement says enough.
LACKS = {
    "uModbus": ("fc23-10", "16 outstanding"),
    "pyModbusTCP": ("16 outstanding",),
    "pymodbus": ("fc16-123, 8 connections, 16", "fc16-123, 64", "fc23-10, 8 connections, 16", "fc23-10, 64"),
    "asyncio, bare": ("fc16-123", "fc01-2000", "fc23-10", "16 outstanding"),
}


def server_command(plan: Plan, name: str) -> list[str]:
    native = {"C, epoll": "floor_server", "libmodbus": "libmodbus_server"}
    if name in native:
        return [plan.programs[native[name]]]
    return plan.python("bare.py", "server") if name == "asyncio, bare" else plan.python("servers.py", name)


def servers(
    plan: Plan, operations: list[str], loads: list[tuple[int, int]], contenders: tuple[str, ...]
) -> tuple[Results, Results, Results]:
    """Requests a second, and microseconds of CPU a request: all of them, and those in the kernel."""
    rates: Results = {}
    costs: Results = {}
    kernel: Results = {}
    for number in range(plan.rounds):
        with ExitStack() as stack:
            running = {name: stack.enter_context(server(server_command(plan, name))) for name in available(contenders)}
            for child in running.values():
                child.stop()
            for operation in operations:
                for connections, outstanding in loads:
                    scenario = f"server: {operation}, {connections} connections, {outstanding} outstanding"
                    load = [str(connections), str(outstanding), str(plan.seconds), operation]
                    for name, child in running.items():
                        if any(lack in scenario for lack in LACKS.get(name, ())):
                            continue
                        with child.alone():
                            own, inside = child.cpu
                            try:
                                count, took = figures_of([plan.programs["load"], str(child.port), *load])
                            except RuntimeError as error:
                                plan.say(f"{scenario}: {name}: {error}")
                                continue
                            own, inside = child.cpu[0] - own, child.cpu[1] - inside
                        if not count:
                            plan.say(f"{scenario}: {name} does not answer")
                            continue
                        for results, figure in (
                            (rates, count / took),
                            (costs, (own + inside) / count * 1e6),
                            (kernel, inside / count * 1e6),
                        ):
                            results.setdefault(scenario, {}).setdefault(name, Series()).figures.append(figure)
        plan.say(f"servers: round {number + 1}")
    return rates, costs, kernel


def connections(plan: Plan, sizes: list[int]) -> Results:
    """Kilobytes of memory a connection, of clients that have asked once and stay."""
    results: Results = {}
    for _ in range(plan.rounds):
        for name in available(("libmodbus", "msm", "msm uvloop", "pymodbus", "pyModbusTCP")):
            for size in sizes:
                with server(server_command(plan, name)) as child, ExitStack() as stack:
                    before = child.kilobytes
                    for _ in range(size):
                        sock = stack.enter_context(socket.create_connection(("127.0.0.1", child.port)))
                        sock.sendall(b"\0\1\0\0\0\6\1\3\0\0\0\1")
                        if not sock.recv(100):
                            raise RuntimeError(f"{name} takes no {size} connections")
                    held = (child.kilobytes - before) / size
                    results.setdefault(f"{size} connections", {}).setdefault(name, Series()).figures.append(held)
    return results


CLIENTS = ("libmodbus", "asyncio, bare", "asyncio, bare uvloop", "msm", "msm uvloop", "pymodbus", "pyModbusTCP")


def clients(plan: Plan, sizes: list[int], outstanding: list[int]) -> tuple[Results, Results]:
    """Poll cycles a second, and microseconds of CPU a cycle, against the C server."""
    rates: Results = {}
    costs: Results = {}
    floor = plan.programs["floor_server"]
    for number in range(plan.rounds):
        with server([floor]) as still, server([floor, "changing"]) as changing:
            for words in sizes:
                for out in outstanding:
                    for kind, child in (("", still), (", changing", changing)):
                        scenario = f"client: {words} words{kind}, {out} outstanding"
                        for name in available(CLIENTS):
                            if kind and not name.startswith("msm"):
                                continue
                            cycles, took, *cpu = figures_of(_client(plan, name, child.port, words, out))
                            rates.setdefault(scenario, {}).setdefault(name, Series()).figures.append(cycles / took)
                            if cpu:
                                cost = cpu[0] / cycles * 1e6
                                costs.setdefault(scenario, {}).setdefault(name, Series()).figures.append(cost)
        plan.say(f"clients: round {number + 1}")
    return rates, costs


def _client(plan: Plan, name: str, port: int, words: int, out: int) -> list[str]:
    if name == "libmodbus":
        return [plan.programs["libmodbus_client"], str(port), str(words), str(plan.seconds)]
    if name.startswith("asyncio, bare"):
        return plan.python("bare.py", "client", port, words, out, plan.seconds, *name.split()[2:])
    return plan.python("clients.py", name, port, words, out, plan.seconds)


MANY = ("C, epoll", "many-msm", "many-msm uvloop", "many-pymodbus")


def many(plan: Plan, sizes: list[int], seconds: float) -> tuple[Results, Results, Results]:
    """CPU share, p99 of the period error in ms, and memory of a device in kB: devices of 125 words once a second."""
    shares: Results = {}
    errors: Results = {}
    memory: Results = {}
    for _ in range(plan.rounds):
        with server([plan.programs["floor_server"]]) as child:
            for devices in sizes:
                scenario = f"{devices} devices, once a second"
                for name in available(MANY):
                    if name == "C, epoll":
                        command = [plan.programs["poller"], str(child.port), str(devices), str(seconds)]
                        cpu, took, polls = figures_of(command)
                        error = kilobytes = 0.0
                    else:
                        command = plan.python("clients.py", name, child.port, devices, seconds)
                        cpu, took, polls, error, kilobytes = figures_of(command)
                    if polls < 0.9 * devices * took:
                        plan.say(f"{scenario}: {name}: only {polls:.0f} polls in {took:.1f} s")
                    shares.setdefault(scenario, {}).setdefault(name, Series()).figures.append(cpu / took)
                    errors.setdefault(scenario, {}).setdefault(name, Series()).figures.append(error)
                    memory.setdefault(scenario, {}).setdefault(name, Series()).figures.append(kilobytes)
                plan.say(f"many: {devices} devices")
    return shares, errors, memory


IMPORTS = {
    "nothing": "pass",
    "asyncio": "import asyncio",
    "msm": "import msm",
    "msm, all of it": "from msm import *",
    "pymodbus": "import pymodbus.client",
}


def imports(plan: Plan) -> Results:
    """Seconds to import, beyond the start of the interpreter."""
    results: Results = {}
    for _ in range(plan.rounds * 2):
        taken = {}
        for name, statement in IMPORTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            taken[name] = time.perf_counter() - began
        for name in ("asyncio", "msm", "msm, all of it", "pymodbus"):
            results.setdefault("import", {}).setdefault(name, Series()).figures.append(taken[name] - taken["nothing"])
    return results
