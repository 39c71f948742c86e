"""What a scan asks of a table: against a device that is a set of addresses."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from msm.cli.ranges import MOST, Outcome, Run, TableScan
from msm.memory.image import TableName


class Cells:
    """A table that has these cells and gives at most so many of them at a time."""

    def __init__(self, *has: range, most: int = 2000, silent: bool = False, pairs: bool = False) -> None:
        self.has = {at for each in has for at in each}
        self.most = most
        self.silent = silent
        self.pairs = pairs
        self.asked: list[tuple[int, int]] = []

    def read(self, first: int, count: int) -> Outcome:
        assert 1 <= count <= 2000
        assert 0 <= first < first + count <= 65536
        self.asked.append((first, count))
        even = not self.pairs or (first % 2 == 0 and count % 2 == 0)
        if count <= self.most and even and self.has.issuperset(range(first, first + count)):
            return "good"
        return "silent" if self.silent else "refused"


def scanned(device: Cells, table: TableName = "holding", addresses: range | None = None) -> TableScan:
    scan = TableScan(table, addresses)
    steps = scan.steps()
    try:
        asked = next(steps)
        while True:
            asked = steps.send(device.read(*asked))
    except StopIteration:
        assert all(count <= MOST[table] for _, count in device.asked)
        return scan


def pairs(runs: Iterable[Run]) -> list[tuple[int, int]]:
    return [(run.first, run.end) for run in runs]


@pytest.mark.parametrize("table", MOST)
def test_a_table_that_is_all_there(table: TableName) -> None:
    device = Cells(range(65536))
    scan = scanned(device, table, range(0, 65536))
    assert pairs(scan.runs) == [(0, 65536)]
    assert (scan.largest, scan.limited) == (MOST[table], False)
    assert len(device.asked) == -(-65536 // MOST[table])
    assert scan.done == 1.0


def test_an_empty_table_costs_few_requests() -> None:
    device = Cells()
    scan = scanned(device)
    assert (scan.runs, scan.largest) == ([], 0)
    assert len(device.asked) < 170


@pytest.mark.parametrize(
    "has",
    [
        [range(0, 20)],
        [range(0, 9), range(10, 40), range(77, 78)],
        [range(3, 130), range(300, 301), range(1975, 2150)],
        [range(40000, 40070)],
        [range(4096, 4106), range(65530, 65536)],
        [range(19800, 20300)],
    ],
)
def test_ranges_are_found_where_devices_like_to_have_them(has: list[range]) -> None:
    scan = scanned(Cells(*has, most=125))
    found = pairs(scan.runs)
    assert [run for run in found if run[1] <= 65530] == [(each.start, each.stop) for each in has if each.stop <= 65530]


def test_all_of_the_addresses_that_were_asked_for_are_looked_at() -> None:
    scan = scanned(Cells(range(7325, 7333), range(7600, 7602)), addresses=range(7000, 8000))
    assert pairs(scan.runs) == [(7325, 7333), (7600, 7602)]
    device = Cells(range(0, 100))
    scanned(device, addresses=range(10, 20))
    assert device.asked == [(10, 10)]


@pytest.mark.parametrize("most", [1, 2, 7, 10, 32, 64, 100, 124])
def test_the_block_size_of_a_device_is_measured(most: int) -> None:
    device = Cells(range(0, 300), most=most)
    scan = scanned(device)
    assert pairs(scan.runs) == [(0, 300)]
    assert (scan.largest, scan.limited) == (most, True)


def test_a_block_size_that_was_found_once_is_kept_to() -> None:
    device = Cells(range(0, 1000), most=10)
    scanned(device, addresses=range(0, 1000))
    assert len(device.asked) < 160
    assert sum(count > 10 for _, count in device.asked) < 12


def test_a_short_range_says_nothing_of_the_block_size() -> None:
    scan = scanned(Cells(range(0, 30), most=60))
    assert (scan.largest, scan.limited) == (30, False)


def test_a_device_that_gives_no_half_values() -> None:
    scan = scanned(Cells(range(0, 80), range(200, 210), pairs=True))
    assert pairs(scan.runs) == [(0, 80), (200, 210)]


def test_a_table_that_is_silent_to_what_it_lacks_is_left_alone_soon() -> None:
    device = Cells(range(0, 20), silent=True)
    scan = scanned(device)
    assert scan.gave_up == "8 requests were not answered"
    assert sum(device.read(*asked) == "silent" for asked in list(device.asked)) == 8
    assert scan.runs[0].first == 0


@pytest.mark.parametrize("outcome", ["no function", "gone"])
def test_one_answer_is_enough_where_there_is_nothing(outcome: Outcome) -> None:
    scan = TableScan("coil")
    steps = scan.steps()
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(outcome)
    assert scan.runs == []
    assert scan.has_function is (outcome == "gone")
