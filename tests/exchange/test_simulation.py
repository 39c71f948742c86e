"""The whole exchange against a simulated device, link and clock: whatever happens, the promises hold.

Hypothesis plays the application, the device, the network and time. `simulation.Model` checks after each step; at the
end both sides are left alone and have to agree.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from msm import MemoryStore, MemoryVariable
from msm.memory.journal import Span
from tests.exchange.simulation import Model, Plant, Rig, reading, writing


def test_requests_are_told_by_their_bytes() -> None:
    """The model reads the wire itself; here it is told what the bytes mean."""
    assert reading(bytes.fromhex("03 0003 0002")) == {("holding", 3), ("holding", 4)}
    assert writing(bytes.fromhex("06 0003 0007")) == {("holding", 3): (0xFFFF, 7)}
    assert writing(bytes.fromhex("16 0003 FFFE 0001")) == {("holding", 3): (1, 1)}
    assert writing(bytes.fromhex("10 0003 0002 04 0001 0002")) == {
        ("holding", 3): (0xFFFF, 1),
        ("holding", 4): (0xFFFF, 2),
    }
    assert writing(bytes.fromhex("05 0004 FF00")) == {("coil", 4): (1, 1)}
    assert writing(bytes.fromhex("0F 0004 0003 01 05")) == {
        ("coil", 4): (1, 1),
        ("coil", 5): (1, 0),
        ("coil", 6): (1, 1),
    }


APPLICATION_BITS = ["READY", "START", "RESET"]
NUMBERS = st.integers(0, 0xFFFF)


def memory() -> MemoryStore:
    mem = MemoryStore(24, input_registers=3, coils=10, discrete_inputs=5)
    mem.WORD = MemoryVariable.word(0)
    mem.READY = MemoryVariable.bool(1, 0)
    mem.START = MemoryVariable.bool(1, 1)
    mem.RESET = MemoryVariable.bool(1, 9)  # the other bits of word 1 are the device's
    mem.LOW = MemoryVariable.byte(2, 0)
    mem.HIGH = MemoryVariable.byte(2, 1)
    mem.GIVES_WAY = MemoryVariable.word(3, conflict="device")
    mem.LONG = MemoryVariable.uint32(4)
    mem.LONGER = MemoryVariable.uint64(6)
    mem.ARRAY = MemoryVariable.word(10, count=3)
    mem.ORDER = MemoryVariable.word(13, command=True)
    mem.LONG_ORDER = MemoryVariable.uint32(14, command=True)
    mem.MEASURED = MemoryVariable.word(16, access="ro")
    mem.COUNTED = MemoryVariable.uint32(17, access="ro", period=0.4)
    mem.SLOW = MemoryVariable.word(19, period=2.5)
    mem.PARAMETER = MemoryVariable.word(20)
    mem.COUNTS_UP = MemoryVariable.word(0, table="input")
    mem.LAMP = MemoryVariable.coil(1)
    mem.LAMPS = MemoryVariable.coil(4, count=3)
    mem.DOOR = MemoryVariable.discrete(2)
    return mem


HOLES = [set(), {("holding", 16)}, {("holding", 17), ("holding", 18)}, {("holding", 22)}, {("input", 1)}]
LACKS = [set(), {22}, {16}, {22, 16}, {22, 6}, {15}, {5}, {6, 16}]


class Exchange(RuleBasedStateMachine):
    """The application, the device, the network and time, in any order."""

    rig: Rig
    model: Model
    number = 0
    at_once = True
    """Does the client's loop run between an assignment and what comes next?"""

    @initialize(
        in_flight=st.integers(1, 4),
        lacks=st.sampled_from(LACKS),
        holes=st.sampled_from(HOLES),
        conflict=st.sampled_from(["mine", "mine", "device"]),
        function=st.sampled_from(["auto", "auto", "auto", "multiple", "single"]),
        poll=st.sampled_from(["all", "all", "declared"]),
        limits=st.sampled_from([(125, 123), (7, 8), (5, 4)]),
        delay=st.sampled_from([0.0, 0.0, 0.01]),
        before=st.booleans(),
        pulled=st.sampled_from([True, True, True, False]),
    )
    def begin(self, in_flight, lacks, holes, conflict, function, poll, limits, delay, before, pulled) -> None:  # type: ignore[no-untyped-def]
        plant = Plant(24, 3, 10, 5)
        plant.words[16] = 7
        plant.lacks, plant.holes = set(lacks), set(holes)
        self.poll = poll
        self.rig = Rig(
            memory(), plant, period=1.0, timeout=0.5, write_ttl=2.0, max_in_flight=in_flight, conflict=conflict,
            write_function=function, poll=poll, max_read=limits[0], max_write=limits[1], delay_between=delay,
        )  # fmt: skip
        self.model = Model(self.rig)
        if before:
            self.assign("WORD", 77)
        self.rig.connect()
        if pulled:
            self.rig.run(0.5)

    # -- the application

    def assign(self, name: str, value: object) -> None:
        setattr(self.rig.store, name, value)
        self.model.assigned(self.model.spans[name])
        if self.at_once:
            self.rig.pump()

    @rule(name=st.sampled_from(["WORD", "GIVES_WAY", "SLOW", "PARAMETER"]), value=NUMBERS)
    def assign_a_word(self, name: str, value: int) -> None:
        self.assign(name, value)

    @rule(name=st.sampled_from([*APPLICATION_BITS, "LAMP"]), value=st.booleans())
    def assign_a_bit(self, name: str, value: bool) -> None:
        self.assign(name, value)

    @rule(name=st.sampled_from(["LOW", "HIGH"]), value=st.integers(0, 255))
    def assign_a_byte(self, name: str, value: int) -> None:
        self.assign(name, value)

    @rule(number=NUMBERS)
    def assign_a_long_value(self, number: int) -> None:
        self.assign("LONG", number * 0x1_0001)

    @rule(number=NUMBERS)
    def assign_a_longer_value(self, number: int) -> None:
        self.assign("LONGER", number * 0x1_0001_0001_0001)

    @rule(number=NUMBERS, lamp=st.booleans())
    def assign_arrays(self, number: int, lamp: bool) -> None:
        self.assign("ARRAY", [number] * 3)
        self.assign("LAMPS", [lamp] * 3)

    @rule(start=st.integers(0, 3), values=st.lists(NUMBERS, min_size=1, max_size=4))
    def assign_raw_words(self, start: int, values: list[int]) -> None:
        end = min(start + len(values), 4)
        self.rig.store[start:end] = values[: end - start]
        count = end - start
        name = f"holding[{start}]" if count == 1 else f"holding[{start}:{end}]"
        self.model.assigned(Span("holding", start, count, (1 << 16 * count) - 1, name))

    @rule(number=NUMBERS)
    def assign_several_at_once(self, number: int) -> None:
        with self.rig.store.atomic():
            self.rig.store.PARAMETER = number
            self.rig.store.LONG = number * 0x1_0001
            self.rig.store.START = True
        for name in ("PARAMETER", "LONG", "START"):
            self.model.assigned(self.model.spans[name])

    @rule(name=st.sampled_from(["WORD", "READY", "ORDER"]), times=st.integers(2, 4))
    def assign_faster_than_the_loop(self, name: str, times: int) -> None:
        self.at_once = False
        for _ in range(times):
            self.number += 1
            self.assign(name, bool(self.number % 2) if name == "READY" else self.number)
        self.at_once = True

    @rule(long=st.booleans())
    def command(self, long: bool) -> None:
        self.number += 1
        if long:
            self.assign("LONG_ORDER", self.number * 0x1_0001)
        else:
            self.assign("ORDER", self.number)

    # -- the device

    @rule(bit=st.sampled_from([3, 4, 12, 15]), value=st.booleans())
    def the_device_changes_its_bits_of_a_shared_word(self, bit: int, value: bool) -> None:
        words = self.rig.plant.words
        words[1] = words[1] & ~(1 << bit) | value << bit

    @rule(number=NUMBERS)
    def the_device_changes_its_values(self, number: int) -> None:
        plant = self.rig.plant
        plant.words[16] = number
        plant.words[17:19] = [number, number]
        plant.tables["input"][0] = number
        plant.tables["discrete"][2] = number & 1

    @rule(address=st.sampled_from([0, 1, 2, 3, 19, 20]), value=NUMBERS)
    def somebody_else_writes_the_application_s_words(self, address: int, value: int) -> None:
        self.rig.plant.words[address] = value

    # Not 01: a device that does not have a function never has it, which is what `lacks` is for.
    @rule(code=st.sampled_from([2, 3, 4, 5, 6, 6, 10, 11]), after=st.integers(0, 2))
    def the_device_refuses(self, code: int, after: int) -> None:
        if not self.rig.plant.refusals:
            self.rig.plant.refusals = [0] * after + [code]

    # -- the network

    @precondition(lambda self: self.rig.to_device)
    @rule(number=st.integers(0, 3))
    def a_request_arrives(self, number: int) -> None:
        self.rig.deliver_request(min(number, len(self.rig.to_device) - 1))

    @precondition(lambda self: self.rig.to_client)
    @rule(number=st.integers(0, 3))
    def a_reply_arrives(self, number: int) -> None:
        self.rig.deliver_reply(min(number, len(self.rig.to_client) - 1))

    @precondition(lambda self: self.rig.to_device)
    @rule()
    def a_request_is_lost(self) -> None:
        self.rig.lose_request()

    @precondition(lambda self: self.rig.to_client)
    @rule()
    def a_reply_is_lost(self) -> None:
        self.rig.lose_reply()

    @precondition(lambda self: self.rig.to_device)
    @rule()
    def a_request_is_doubled(self) -> None:
        self.rig.double_request()

    @precondition(lambda self: self.rig.to_client)
    @rule()
    def a_reply_is_doubled(self) -> None:
        self.rig.double_reply()

    @precondition(lambda self: self.rig.connected)
    @rule(again=st.sampled_from([True, True, False]))
    def the_connection_breaks(self, again: bool) -> None:
        self.rig.reset()
        if again:
            self.rig.connect()

    @precondition(lambda self: not self.rig.connected)
    @rule()
    def a_connection_is_made(self) -> None:
        self.rig.connect()

    @precondition(lambda self: self.rig.out)
    @rule()
    def nothing_comes_before_the_deadline(self) -> None:
        self.rig.pass_time(min(sent.deadline for sent in self.rig.out.values()) - self.rig.now)

    # -- time

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.6, 1.0, 2.5]))
    def time_passes(self, seconds: float) -> None:
        self.rig.pass_time(seconds)

    @rule(messages=st.sampled_from([1, 2, 3, 5, 8, 13, 30]))
    def all_goes_well_for_a_while(self, messages: int) -> None:
        self.rig.connect()
        self.rig.pass_time(0.0)
        for _ in range(messages):
            if self.rig.to_device:
                self.rig.deliver_request()
            elif self.rig.to_client:
                self.rig.deliver_reply()

    # -- what holds

    @invariant()
    def the_promises_hold(self) -> None:
        if hasattr(self, "model"):
            self.model.check()

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        rig = self.rig
        rig.plant.refusals.clear()
        rig.run(6.0)
        # What was refused once is asked for again when its time has come.
        while healing := [
            hole.due
            for hole in rig.device.holes.known()
            if not {(hole.table, at) for at in range(hole.address, hole.address + hole.cells)} <= rig.plant.holes
        ]:
            rig.run(max(min(healing) - rig.now, 0.0) + 2.0)
        self.model.check_at_rest()


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=max(300, settings().max_examples), stateful_step_count=60)
