"""What is wrong, in plain words, and what to try."""

from __future__ import annotations

from dataclasses import dataclass

from msm.exchange.schedule import LinkState
from msm.exchange.stats import Stats


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the exchange with one unit."""

    endpoint: str
    unit: int | None
    state: LinkState
    trouble: str
    connected: bool
    ever_connected: bool
    stats: Stats
    holes: tuple[tuple[str, int, int, str], ...]
    pending: int
    mask_write: bool
    period: float
    strays: int
    malformed: str = ""
    rejected: int = 0
    expired: int = 0
    unknown: int = 0


def diagnose(facts: Facts) -> str:
    """The findings, a line each; the one that matters most comes first."""
    who = facts.endpoint if facts.unit is None else f"unit {facts.unit} at {facts.endpoint}"
    lines = [_link(facts), *_holes(facts), *_replies(facts), *_pace(facts), *_writes(facts)]
    told = [line for line in lines if line]
    if not told:
        return f"{who}: all is well; {facts.stats.cycles} polls, the last took {1000 * facts.stats.cycle_time:.1f} ms"
    return "\n".join(f"{who}: {line}" for line in told)


def _link(facts: Facts) -> str:
    errors = facts.stats.errors
    if facts.state is LinkState.CLOSED:
        return "the client was stopped"
    if facts.state is LinkState.ONLINE:
        return ""
    if errors["exception 0B"] or errors["exception 0A"]:
        return (
            f"connected, but the gateway does not reach the unit ({facts.trouble}): "
            "is the unit id right, is the device switched on and wired?"
        )
    if not facts.ever_connected:
        return f"no connection yet: {facts.trouble}"
    if facts.connected:
        return (
            f"connected, but it does not answer ({facts.trouble}): "
            "is the unit id right, does another program hold its only connection, is the timeout long enough?"
        )
    return f"the connection is lost: {facts.trouble}"


def _holes(facts: Facts) -> list[str]:
    if not facts.holes:
        return []
    listed = ", ".join(
        f"{table} {address}" if cells == 1 else f"{table} {address}-{address + cells - 1}"
        for table, address, cells, _ in _joined(facts.holes)[:10]
    )
    cause = facts.holes[0][3].rsplit(": ", 1)[-1] if ": " in facts.holes[0][3] else facts.holes[0][3]
    if facts.stats.cells == 0:
        return [
            f"connected, but every read is refused ({listed}; {cause}): "
            "is the map off by one, is it the right table, is the unit id right?"
        ]
    return [
        f"connected, but every read of {listed} is refused ({cause}): is the map off by one there, or does this "
        "model not have them? They are left out, and asked for again now and then"
    ]


def _joined(holes: tuple[tuple[str, int, int, str], ...]) -> list[tuple[str, int, int, str]]:
    joined: list[tuple[str, int, int, str]] = []
    for table, address, cells, cause in holes:
        if joined and joined[-1][0] == table and joined[-1][1] + joined[-1][2] == address:
            first = joined[-1]
            joined[-1] = (table, first[1], first[2] + cells, first[3])
        else:
            joined.append((table, address, cells, cause))
    return joined


def _replies(facts: Facts) -> list[str]:
    if not facts.malformed:
        return []
    return [
        f"{facts.stats.errors['protocol']} replies do not fit their requests, and were not used "
        f"(last, {facts.malformed}): does the device have less memory than is declared, and does not say so?"
    ]


def _pace(facts: Facts) -> list[str]:
    found = []
    if facts.stats.cycles and facts.stats.cycle_time > facts.period:
        found.append(
            f"a poll takes {facts.stats.cycle_time:.2f} s, longer than its period of {facts.period:g} s: take a longer "
            'period, poll="declared", or max_in_flight above 1'
        )
    timeouts = facts.stats.errors["timeout"]
    if timeouts and facts.stats.requests and timeouts / facts.stats.requests > 0.05 and facts.state is LinkState.ONLINE:
        found.append(
            f"{timeouts} of {facts.stats.requests} requests were not answered in time: "
            "take a longer timeout, or delay_between for a device that needs rest"
        )
    if facts.strays:
        found.append(f"{facts.strays} replies came late or were not ours, and were dropped: take a longer timeout")
    return found


def _writes(facts: Facts) -> list[str]:
    found = []
    if facts.stats.racy_writes:
        found.append(
            f"{facts.stats.racy_writes} writes of single bits read and wrote back their word, since the device has no "
            "mask write (function 22): what it changes in between is lost; let one side own each word"
        )
    if facts.stats.conflicts:
        found.append(f"{facts.stats.conflicts} assignments met a change by the device: see `conflicts`")
    if facts.rejected:
        found.append(f"{facts.rejected} assignment(s) were refused by the device: flush() says which and why")
    if facts.expired:
        found.append(f"{facts.expired} command(s) expired, since they could not be sent in time: see write_ttl")
    if facts.unknown:
        found.append(
            f"{facts.unknown} assignment(s) were sent and not answered: whether they arrived is unknown, and they are "
            "not sent again; look at the values that were read back"
        )
    if facts.pending and facts.state is LinkState.ONLINE:
        found.append(f"{facts.pending} assignments are on their way")
    return found
