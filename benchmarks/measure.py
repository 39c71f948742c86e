"""Measures one thing after the other: each contender in turn, round by round, so that all have the same bad moments."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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


@contextmanager
def server(command: list[str]) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert child.stdout is not None
        yield int(child.stdout.readline())
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


SERVERS = (
    "C, epoll",
    "libmodbus",
    "msm",
    "msm uvloop",
    "msm, an application writes",
    "pymodbus",
    "pyModbusTCP",
    "uModbus",
)
LACKS = {"uModbus": ("fc23-10",)}


def server_command(plan: Plan, name: str) -> list[str]:
    native = {"C, epoll": "floor_server", "libmodbus": "libmodbus_server"}
    return [plan.programs[native[name]]] if name in native else plan.python("servers.py", name)


def servers(plan: Plan, operations: list[str], loads: list[tuple[int, int]], contenders: tuple[str, ...]) -> Results:
    """Requests a second."""
    results: Results = {}
    for _ in range(plan.rounds):
        for name in contenders:
            with server(server_command(plan, name)) as port:
                for operation in operations:
                    if operation in LACKS.get(name, ()):
                        continue
                    for connections, outstanding in loads:
                        scenario = f"server: {operation}, {connections} connections, {outstanding} outstanding"
                        try:
                            count, took = figures_of(
                                [
                                    plan.programs["load"],
                                    str(port),
                                    str(connections),
                                    str(outstanding),
                                    str(plan.seconds),
                                    operation,
                                ]
                            )
                        except RuntimeError as error:
                            plan.say(f"{scenario}: {name}: {error}")
                            continue
                        if not count:
                            plan.say(f"{scenario}: {name} does not answer")
                            continue
                        results.setdefault(scenario, {}).setdefault(name, Series()).figures.append(count / took)
            plan.say(f"servers: {name}")
    return results


CLIENTS = ("libmodbus", "msm", "msm uvloop", "pymodbus", "pyModbusTCP")


def clients(plan: Plan, sizes: list[int], outstanding: list[int]) -> Results:
    """Poll cycles a second, against the floor server."""
    results: Results = {}
    for _ in range(plan.rounds):
        with server([plan.programs["floor_server"]]) as port:
            for words in sizes:
                for out in outstanding:
                    scenario = f"client: {words} words, {out} outstanding"
                    for name in CLIENTS:
                        if name == "libmodbus":
                            command = [plan.programs["libmodbus_client"], str(port), str(words), str(plan.seconds)]
                        else:
                            command = plan.python("clients.py", name, port, words, out, plan.seconds)
                        cycles, took, *_ = figures_of(command)
                        results.setdefault(scenario, {}).setdefault(name, Series()).figures.append(cycles / took)
                plan.say(f"clients: {words} words")
    return results


MANY = ("C, epoll", "many-msm", "many-msm uvloop", "many-pymodbus")


def many(plan: Plan, sizes: list[int], seconds: float) -> tuple[Results, Results, Results]:
    """CPU share, p99 of the period error in ms, and memory of a device in kB: devices of 125 words once a second."""
    shares: Results = {}
    errors: Results = {}
    memory: Results = {}
    for _ in range(max(1, plan.rounds // 2)):
        with server([plan.programs["floor_server"]]) as port:
            for devices in sizes:
                scenario = f"{devices} devices, once a second"
                for name in MANY:
                    if name == "C, epoll":
                        cpu, took, polls = figures_of([plan.programs["poller"], str(port), str(devices), str(seconds)])
                        error = kilobytes = 0.0
                    else:
                        cpu, took, polls, error, kilobytes = figures_of(
                            plan.python("clients.py", name, port, devices, seconds)
                        )
                    if polls < 0.9 * devices * took:
                        plan.say(f"{scenario}: {name}: only {polls:.0f} polls in {took:.1f} s")
                    shares.setdefault(scenario, {}).setdefault(name, Series()).figures.append(cpu / took)
                    errors.setdefault(scenario, {}).setdefault(name, Series()).figures.append(error)
                    memory.setdefault(scenario, {}).setdefault(name, Series()).figures.append(kilobytes)
                plan.say(f"many: {devices} devices")
    return shares, errors, memory


def imports(plan: Plan) -> Results:
    """Seconds to import, beyond the start of the interpreter."""
    results: Results = {}
    for _ in range(plan.rounds * 2):
        taken = {}
        for name, statement in (("nothing", "pass"), ("asyncio", "import asyncio"), ("msm", "import msm"),
                                ("pymodbus", "import pymodbus.client")):  # fmt: skip
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            taken[name] = time.perf_counter() - began
        for name in ("asyncio", "msm", "pymodbus"):
            results.setdefault("import", {}).setdefault(name, Series()).figures.append(taken[name] - taken["nothing"])
    return results
