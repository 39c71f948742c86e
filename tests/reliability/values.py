"""Rows about values: torn ones, lost ones, and what callbacks do to them."""

from __future__ import annotations

import struct
import sys
import threading
from dataclasses import replace

from benchmarks import faults

from msm import MemoryStore, MemoryVariable, ModbusServer
from tests.reliability.lines import quick
from tests.reliability.rows import Scale, check, demand
from tests.support import FREE, RawClient, mbap

WORDS = 20
SWITCH = 1e-5  # seconds between thread switches: as often as it gets


class Torn(MemoryStore, size=WORDS):
    """Values of every length, laid so that a whole one shows the same word everywhere."""

    short = MemoryVariable.uint32(0)
    number = MemoryVariable.float64(2)
    text = MemoryVariable.string(6, 20)
    last = MemoryVariable.uint64(16)


def words_of(number: int) -> int:
    """A word that is the same in all its bytes: as characters, as a float, as a number."""
    return 0x0101 * (0x30 + number % 10)


def assign(mem: Torn, number: int) -> None:
    """All of it, as one."""
    word = words_of(number)
    with mem.atomic():
        mem.short = word << 16 | word
        mem.number = struct.unpack(">d", struct.pack(">4H", *[word] * 4))[0]
        mem.text = chr(word & 0xFF) * 20
        mem.last = word * 0x0001_0001_0001_0001


def pieces(mem: Torn) -> list[int]:
    """Each of the values, read by itself, and the number of different words in it."""
    return [
        len(set(struct.unpack(">2H", mem.short.to_bytes(4, "big")))),
        len(set(struct.unpack(">4H", struct.pack(">d", mem.number)))),
        len(set(mem.text)),
        len(set(struct.unpack(">4H", mem.last.to_bytes(8, "big")))),
    ]


@check("0 torn, in both directions")
def torn_reads(scale: Scale) -> tuple[str, str]:
    reads = scale.of(1_000_000, 8_000)
    torn = done = 0
    stop = threading.Event()
    mem = Torn()
    assign(mem, 0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        with ModbusServer(mem, FREE) as server, RawClient(server.endpoint) as raw:
            # The application assigns, a client reads.
            writer = threading.Thread(target=assign_until, args=(mem, stop))
            writer.start()
            request, size, batch = mbap(struct.pack(">BHH", 3, 0, WORDS)), 9 + 2 * WORDS, 16
            while done < reads:
                raw.send(request * batch)
                data = raw.read(size * batch)
                for at in range(0, len(data), size):
                    torn += len({data[at + 9 + each : at + 11 + each] for each in range(0, 2 * WORDS, 2)}) != 1
                done += batch
            stop.set()
            writer.join()
            remote, done = done, 0

            # A client writes, the application reads.
            stop.clear()
            frames = [
                mbap(struct.pack(">BHHB", 16, 0, WORDS, 2 * WORDS) + struct.pack(">H", words_of(each)) * WORDS)
                for each in range(10)
            ]

            def write() -> None:
                while not stop.is_set():
                    raw.send(b"".join(frames))
                    raw.read(12 * len(frames))

            writer = threading.Thread(target=write)
            writer.start()
            seen = set()
            while done < reads:
                seen.add(mem.short)
                torn += sum(each != 1 for each in pieces(mem))
                torn += len(set(mem[:])) != 1
                torn += len(set(mem.snapshot()[:])) != 1
                done += 6
            stop.set()
            writer.join()
    finally:
        stop.set()
        sys.setswitchinterval(interval)
    demand(len(seen) > 1, "nothing was written meanwhile")
    demand(torn == 0, f"{torn} torn of {remote} remote and {done} local reads")
    return f"torn reads of uint32, float64, uint64, texts and groups: {remote} remote, {done} local", f"{torn} torn"


def assign_until(mem: Torn, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        assign(mem, number)


@check("0 lost")
def two_writers(scale: Scale) -> tuple[str, str]:
    row = faults.masks(replace(quick(scale.full), masks=scale.of(500_000, 3_000)))
    demand(row.good, row.measured)
    return "two writers on the bits of one word by function 22", row.measured


@check("other clients do not notice; the connection lives")
def callbacks(scale: Scale) -> tuple[str, str]:
    size = quick(scale.full)
    rows = [
        faults.blocked(size, 10, "callback"),
        faults.blocked(size, 20, "before_write", "before_write=before"),
        faults.raising(size),
    ]
    said = "; ".join(row.measured for row in rows)
    demand(all(row.good for row in rows), said)
    return "callbacks that block or raise", said
