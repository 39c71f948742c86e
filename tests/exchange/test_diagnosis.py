"""What is wrong is said in plain words, the worst first, with something to try."""

from __future__ import annotations

from dataclasses import replace

from msm.exchange.diagnosis import Facts, diagnose
from msm.exchange.schedule import LinkState
from msm.exchange.stats import Stats

WELL = Facts(
    endpoint="tcp://plc:502",
    unit=None,
    state=LinkState.ONLINE,
    trouble="",
    connected=True,
    ever_connected=True,
    stats=Stats(requests=100, cycles=100, cycle_time=0.004, cells=800),
    holes=(),
    pending=0,
    mask_write=True,
    period=0.2,
    strays=0,
)


def stats_with(**errors: int) -> Stats:
    stats = Stats(requests=100, cycles=90, cycle_time=0.004, cells=800)
    stats.errors.update({name.replace("_", " "): count for name, count in errors.items()})
    return stats


def test_all_is_well() -> None:
    assert diagnose(WELL) == "tcp://plc:502: all is well; 100 polls, the last took 4.0 ms"


def test_a_unit_is_named_where_there_are_several() -> None:
    assert diagnose(replace(WELL, unit=3)).startswith("unit 3 at tcp://plc:502: all is well")


def test_never_connected() -> None:
    told = diagnose(
        replace(WELL, state=LinkState.CONNECTING, connected=False, ever_connected=False, trouble="connection refused")
    )
    assert told == "tcp://plc:502: no connection yet: connection refused"


def test_the_connection_is_lost() -> None:
    told = diagnose(replace(WELL, state=LinkState.OFFLINE, connected=False, trouble="reset by peer"))
    assert told == "tcp://plc:502: the connection is lost: reset by peer"


def test_connected_but_silent() -> None:
    told = diagnose(replace(WELL, state=LinkState.OFFLINE, trouble="no answer within 1 s"))
    assert "connected, but it does not answer (no answer within 1 s)" in told
    assert "is the unit id right" in told


def test_a_gateway_that_does_not_reach_the_unit() -> None:
    told = diagnose(replace(WELL, state=LinkState.OFFLINE, stats=stats_with(exception_0B=3), trouble="exception 0B"))
    assert "the gateway does not reach the unit" in told
    assert "switched on" in told


def test_holes_are_listed_together() -> None:
    holes = tuple(("holding", at, 1, "reading holding 40: exception 02: illegal data address") for at in range(40, 48))
    told = diagnose(replace(WELL, holes=(*holes, ("input", 7, 1, "exception 02"))))
    assert "every read of holding 40-47, input 7 is refused" in told
    assert "off by one" in told


def test_nothing_at_all_can_be_read() -> None:
    holes = (("holding", 0, 8, "reading holding 0-7: exception 02: illegal data address"),)
    told = diagnose(replace(WELL, holes=holes, stats=Stats(requests=3)))
    assert "every read is refused (holding 0-7" in told
    assert "is the unit id right" in told


def test_a_poll_that_takes_longer_than_its_period() -> None:
    told = diagnose(replace(WELL, stats=Stats(requests=9, cycles=9, cycle_time=0.5, cells=1)))
    assert "a poll takes 0.50 s, longer than its period of 0.2 s" in told
    assert 'poll="declared"' in told


def test_timeouts_now_and_then() -> None:
    told = diagnose(replace(WELL, stats=stats_with(timeout=10)))
    assert "10 of 100 requests were not answered in time" in told
    assert "all is well" in diagnose(replace(WELL, stats=stats_with(timeout=2)))


def test_late_replies() -> None:
    assert "4 replies came late" in diagnose(replace(WELL, strays=4))


def test_writes() -> None:
    stats = Stats(requests=9, cycles=9, cells=9, racy_writes=3, conflicts=2)
    told = diagnose(replace(WELL, stats=stats, pending=5))
    assert "3 writes of single bits read and wrote back their word" in told
    assert "2 assignments met a change by the device" in told
    assert "5 assignments are on their way" in told
    assert len(told.splitlines()) == 3


def test_the_worst_comes_first_and_each_finding_has_its_line() -> None:
    told = diagnose(replace(WELL, state=LinkState.OFFLINE, trouble="silence", strays=1, stats=Stats(racy_writes=1)))
    first, *others = told.splitlines()
    assert "does not answer" in first
    assert len(others) == 2
    assert all(line.startswith("tcp://plc:502: ") for line in told.splitlines())


def test_stopped() -> None:
    assert diagnose(replace(WELL, state=LinkState.CLOSED)) == "tcp://plc:502: the client was stopped"
