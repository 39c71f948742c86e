"""The numbers that an exchange tells about itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from msm import MemoryStore
from msm.exchange.stats import Stats
from tests.exchange.simulation import Plant, Rig


def test_before_the_first_poll() -> None:
    stats = Stats()
    assert (stats.cycle_percentile(50), stats.words_per_second, stats.cycles) == (0.0, 0.0, 0)


@given(st.lists(st.floats(0.001, 10.0), min_size=1, max_size=100), st.floats(0, 100), st.floats(0, 100))
def test_percentiles_are_times_that_were_seen_and_grow(times: list[float], low: float, high: float) -> None:
    stats = Stats()
    for number, duration in enumerate(times):
        stats.cycle(number + duration, number)
    low, high = min(low, high), max(low, high)
    assert min(times) - 1e-9 <= stats.cycle_percentile(low) <= stats.cycle_percentile(high) <= max(times) + 1e-9


def test_percentiles_of_known_times() -> None:
    stats = Stats()
    for number in range(100):
        stats.cycle(number + 1.0, 0.0)
    assert (stats.cycle_percentile(50), stats.cycle_percentile(99), stats.cycle_percentile(100)) == (51.0, 100.0, 100.0)


def test_only_the_last_thousand_are_kept() -> None:
    stats = Stats()
    for number in range(5000):
        stats.cycle(float(number), number - (1.0 if number < 4000 else 2.0))
    assert (stats.cycles, len(stats.recent), stats.cycle_percentile(0)) == (5000, 1000, 2.0)


def test_words_a_second() -> None:
    stats = Stats()
    for number in range(11):
        stats.cells += 50
        stats.cycle(float(number), number - 0.1)
    assert stats.words_per_second == 50.0


def test_what_is_counted() -> None:
    rig = Rig(MemoryStore(8), Plant(8), period=1.0, timeout=0.5)
    rig.start()
    rig.run(9.5)
    stats = rig.device.stats
    assert (stats.requests, stats.cycles, stats.cells) == (10, 10, 80)
    assert stats.errors == {}
    rig.plant.refusals = [4]
    rig.store[1] = 5
    rig.pump()
    rig.settle()
    assert stats.errors == {"exception 04": 1}


def test_the_time_of_a_poll_runs_from_its_first_request_to_its_last_reply() -> None:
    rig = Rig(MemoryStore(8), Plant(8), period=10.0, max_read=4, timeout=5.0)
    rig.connect()
    for _ in range(2):
        rig.deliver_request()
        rig.pass_time(0.25)
        rig.deliver_reply()
    assert rig.device.stats.cycle_time == 0.5


def test_several_units_together() -> None:
    one, two = Stats(requests=3, racy_writes=1, cycle_time=0.1), Stats(requests=4, conflicts=2, cycle_time=0.3)
    one.errors["timeout"] += 1
    two.errors["timeout"] += 2
    both = Stats.together([one, two])
    assert (both.requests, both.racy_writes, both.conflicts, both.cycle_time) == (7, 1, 2, 0.3)
    assert both.errors == {"timeout": 3}
