"""What was measured, as a table against what is demanded, and as plots."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from pathlib import Path
from typing import Any


def machine() -> str:
    """Where it was measured."""
    try:
        with open("/proc/cpuinfo") as file:
            cpu = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or "unknown"
    return f"{os.cpu_count()} cores, {cpu}, {platform.system()}, Python {platform.python_version()}"


class Ratios:
    """Ratios of one contender to another, over scenarios: by median of the rounds, each within its round."""

    def __init__(self, rows: dict[str, dict[str, list[float]]]) -> None:
        self.rows = rows

    def of(self, ours: str, theirs: str, *, match: str = "") -> list[tuple[str, float, float, float]]:
        """(scenario, median, least, most) for each scenario that both have."""
        found = []
        for scenario, row in self.rows.items():
            if match in scenario and ours in row and theirs in row:
                each = [mine / other for mine, other in zip(row[ours], row[theirs], strict=False) if other]
                if each:
                    found.append((scenario, statistics.median(each), min(each), max(each)))
        return found


def _worst(ratios: list[tuple[str, float, float, float]]) -> tuple[float, str]:
    if not ratios:
        return float("nan"), NOT_MEASURED
    scenario, median, least, most = min(ratios, key=lambda each: each[1])
    return median, f"{median:.2f} ({least:.2f} to {most:.2f}; {scenario.partition(': ')[2] or scenario})"


Row = tuple[str, str, str, str, str]  # what, demanded, measured, measured over uvloop, whether it is met

NOT_MEASURED = "-"


def rows(found: dict[str, Any]) -> list[Row]:  # noqa: PLR0915 - it is a list
    """Each of the demands, and what was measured."""
    told: list[Row] = []

    def verdict(default: bool, uvloop: bool | None) -> str:
        return "met" if default else "met over uvloop" if uvloop else "**not met**"

    def at_least(what: str, demanded: float, ratios: Ratios, whom: str, *, match: str, bench: str = "msm") -> None:
        value, text = _worst(ratios.of(bench, whom, match=match))
        faster, faster_text = _worst(ratios.of(f"{bench} uvloop", whom, match=match))
        met = verdict(value >= demanded, faster >= demanded)
        told.append((what, f"{demanded:g} x {whom}", text, faster_text, met))

    def at_most(what: str, demanded: str, value: float, limit: float, text: str) -> None:
        told.append((what, demanded, text, NOT_MEASURED, verdict(value <= limit, None)))

    if "servers" in found:
        servers = Ratios(found["servers"])
        for connections in (8, 64):
            one = f"{connections} connections, 1 outstanding"
            what = f"server, {connections} connections, one outstanding"
            at_least(what, 1.0, servers, "libmodbus", match=one)
            at_least(what, 0.6, servers, "C, epoll", match=one)
            at_least(f"{what}, 125 words", 8.0, servers, "pymodbus", match=f"fc03-125, {one}")
        for connections in (64, 8, 1):
            match = f" {connections} connections, 16 outstanding"
            floor = _worst(servers.of("C, epoll", "libmodbus", match=match))[0]
            many = f"{connections} connections" if connections > 1 else "one connection"
            what = f"server, {many}, 16 outstanding (the C floor: {floor:.1f})"
            at_least(what, 5.0, servers, "libmodbus", match=match)
    if "clients" in found:
        clients = Ratios(found["clients"])
        one, many = "10000 words, 1 outstanding", "10000 words, 16 outstanding"
        bare = _worst(clients.of("asyncio, bare", "libmodbus", match=one))[0]
        what = f"poll of 10,000 words, one outstanding (bare asyncio: {bare:.2f})"
        at_least(what, 0.75, clients, "libmodbus", match=one)
        at_least("the same", 1.3, clients, "pymodbus", match=one)
        at_least("the same", 1.0, clients, "pyModbusTCP", match=one)
        at_least("the same with 16 outstanding", 5.0, clients, "libmodbus", match=many)
        at_least("the same", 10.0, clients, "pymodbus", match=many)
        costs = found["clients: cpu us"].get(f"client: {one}")
        if costs:
            ours, bare = costs["msm"], costs["asyncio, bare"]
            own = statistics.median((mine - other) / 80 for mine, other in zip(ours, bare, strict=True))
            whole, floor = statistics.median(ours) / 80, statistics.median(bare) / 80
            text = f"{own:.1f} us beyond a bare asyncio client, in the same round; {whole:.1f} and {floor:.1f} in all"
            at_most("an unchanged block of 125 words, CPU of our own", "10 us", own, 10, text)
    if "many: cpu" in found:
        scenario, row = list(found["many: cpu"].items())[-1]
        share = {name: statistics.median(figures) for name, figures in row.items()}
        floor, theirs = share["C, epoll"], share["many-pymodbus"]
        late = {name: statistics.median(each) for name, each in found["many: p99 ms"][scenario].items()}
        ours, faster = "many-msm", "many-msm uvloop" if "many-msm uvloop" in share else "many-msm"
        for what, limit in (("half of pymodbus' CPU", theirs / 2), ("2 x the C poller's CPU", 2 * floor)):
            text = f"{share[ours]:.1%} of a core; C {floor:.1%}, pymodbus {theirs:.1%}"
            met = verdict(share[ours] <= limit, share[faster] <= limit)
            told.append((scenario, what, text, f"{share[faster]:.1%}", met))
        met = verdict(late[ours] < 20, late[faster] < 20)
        told.append((scenario, "p99 of the period under 20 ms", f"{late[ours]:.1f} ms", f"{late[faster]:.1f} ms", met))
    if "latency" in found:
        latency = {name: statistics.median(figures) for name, figures in found["latency"].items()}
        base = 2 * latency["bare round trip"] + latency["thread wake-up"]

        def taken(loop: str) -> tuple[float, str]:
            ours = latency.get(f"assignment to device memory{loop}", math.inf)
            bare = latency.get(f"a bare event loop in a thread{loop}", math.inf)
            return ours, f"{ours:.0f} us; a bare event loop in a thread {bare:.0f}" if ours < math.inf else NOT_MEASURED

        (ours, text), (faster, faster_text) = taken(""), taken(" uvloop")
        parts = f"round trip {latency['bare round trip']:.0f}, wake-up {latency['thread wake-up']:.0f}"
        what = "assignment to device memory, idle link"
        demanded = f"2 x a round trip and a wake-up: {base:.0f} us"
        told.append((what, demanded, f"{text}; {parts}", faster_text, verdict(ours <= base, faster <= base)))
    if "attributes" in found:
        each, least, lock = (
            found["attributes"][name]
            for name in ("uint32, on an instance", "the least that checks and takes a lock", "a lock, taken and let go")
        )
        at_most("get a uint32, declared on an instance", "4 x a property", each["get"], 4, f"{each['get']:.1f}")
        text = f"{each['set']:.1f}; the least that checks and takes a lock {least['set']:.1f}, a lock {lock['set']:.1f}"
        at_most("set a uint32, declared on an instance", "8 x a property", each["set"], 8, text)
    if "imports" in found:
        row = {name: statistics.median(figures) for name, figures in found["imports"]["import"].items()}
        ratio, whole = row["msm"] / row["asyncio"], row["msm, all of it"] / row["asyncio"]
        at_most("import msm", "2 x import asyncio", ratio, 2, f"{ratio:.2f}; with everything in it {whole:.2f}")
    return told


def profile(found: dict[str, Any]) -> list[str]:
    """Where the time of a request goes: to the kernel, and to the program."""
    lines = ["| microseconds of CPU a request | its own | in the kernel |", "|---|---|---|"]
    for scenario in ("fc03-125, 8 connections, 1 outstanding", "fc03-125, 8 connections, 16 outstanding"):
        all_of_it = found["servers: cpu us"].get(f"server: {scenario}", {})
        for name, figures in all_of_it.items():
            whole = statistics.mean(figures)  # the kernel counts by hundredths of a second: it evens out
            inside = statistics.mean(found["servers: kernel us"][f"server: {scenario}"][name])
            lines.append(f"| {name}: {scenario} | {whole - inside:.1f} | {inside:.1f} |")
    return lines


def stages(found: dict[str, Any]) -> list[str]:
    """Where the time of an assignment goes."""
    latency = {name: statistics.median(figures) for name, figures in found["latency"].items()}
    lines = ["| microseconds until | it returns | its request is ready | the device has it |", "|---|---|---|---|"]
    for name in ("an assignment", "a bare event loop"):
        parts = [
            f"{took:.0f}" for what, took in latency.items() if what.startswith(f"{name}, ") and "uvloop" not in what
        ]
        lines.append(f"| {name} | {' | '.join(parts)} |")
    return lines


def table(found: dict[str, Any]) -> str:
    """The rows as they stand in the page."""
    lines = [
        f"Measured on {found['machine']}.",
        "",
        "| what | demanded | measured | over uvloop | |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows(found)]
    if "servers" in found:
        lines += ["", *profile(found)]
    if "latency" in found:
        lines += ["", *stages(found)]
    return "\n".join(lines)


DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "explanation" / "performance.md"
BEGIN, END = "<!-- table: written by `nox -s bench` -->", "<!-- end of the table -->"


def write_page(found: dict[str, Any]) -> None:
    """Put the table into the page, and plots and figures beside it."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{after}", "utf-8")
    (DOCS / "_static" / "performance.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    plot(found, DOCS / "_static")


def plot(found: dict[str, Any], folder: Path) -> None:
    """Servers, clients, and how the cost grows with words and with devices."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "msm"
    from matplotlib import pyplot

    def bars(rows: dict[str, dict[str, list[float]]], scenarios: list[str], title: str, file: str, unit: str) -> None:
        figure, axes = pyplot.subplots(figsize=(8, 4))
        names = [name for name in rows[scenarios[0]] if all(name in rows[each] for each in scenarios)]
        for number, name in enumerate(names):
            heights = [statistics.median(rows[each][name]) for each in scenarios]
            places = [at + number * 0.8 / len(names) for at in range(len(scenarios))]
            axes.bar(places, heights, 0.8 / len(names), label=name)
        axes.set_xticks(
            [at + 0.4 for at in range(len(scenarios))], [each.partition(": ")[2] for each in scenarios], fontsize=8
        )
        axes.set_yscale("log")
        axes.set_ylabel(unit)
        axes.set_title(title)
        axes.legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(folder / file, metadata={"Date": None})
        pyplot.close(figure)

    def lines(rows: dict[str, dict[str, list[float]]], title: str, file: str, x: str, y: str, *, per: float) -> None:
        figure, axes = pyplot.subplots(figsize=(8, 4))
        for name in next(iter(rows.values())):
            points = [(int(each.split()[0]), statistics.median(row[name])) for each, row in rows.items() if name in row]
            axes.plot(
                [at for at, _ in points], [per / value if per else value for _, value in points], "o-", label=name
            )
        axes.set(xlabel=x, ylabel=y, title=title, xscale="log", yscale="log")
        axes.legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(folder / file, metadata={"Date": None})
        pyplot.close(figure)

    reads = [each for each in found["servers"] if "fc03-125" in each and "1 connections" not in each]
    bars(found["servers"], reads, "Server: reads of 125 words", "performance-server.svg", "requests a second")
    polls = {
        each.removeprefix("client: "): row
        for each, row in found["clients"].items()
        if each.endswith(" words, 1 outstanding")
    }
    lines(
        polls, "Client: one poll, one request outstanding", "performance-client.svg", "words", "microseconds", per=1e6
    )
    snapshots = {
        each.removeprefix("snapshot() of "): {
            "msm": [1 / row["get"] / found["attributes"]["plain property, ns"]["get"]]
        }
        for each, row in found["attributes"].items()
        if each.startswith("snapshot() of ")
    }
    lines(snapshots, "snapshot() of so many variables", "performance-variables.svg", "variables", "nanoseconds", per=1)
    loads = {
        each.split(", ")[1]: row
        for each, row in found["servers"].items()
        if "fc03-125" in each and each.endswith(" 1 outstanding")
    }
    lines(
        loads, "Server: reads of 125 words, one outstanding on each connection", "performance-connections.svg",
        "connections", "microseconds a request", per=1e6,
    )  # fmt: skip
    lines(
        found["many: cpu"],
        "Devices of 125 words, once a second",
        "performance-devices.svg",
        "devices",
        "cores",
        per=0,
    )
