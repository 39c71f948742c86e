"""What a server lets its clients do: each limit with figures, and what the others notice when one goes beyond it."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import pytest

from msm import (
    AsyncModbusServer,
    DeclarationError,
    IllegalAddressError,
    IllegalValueError,
    MemoryStore,
    MemoryVariable,
    ModbusServer,
)
from msm.keywords import RemoteWrite, ServerSettings
from msm.peer import BACKLOG, Peer
from tests.support import FREE, PATIENCE, Deadline, RawClient, mbap, port_of, until, wait_until

READ = b"\x03\0\0\0\x01"
LONG_READ = b"\x03\0\0\0\x7d"
BUSY = 6


def write_one(address: int, value: int) -> bytes:
    return struct.pack(">BHH", 6, address, value)


@pytest.fixture
def mem() -> MemoryStore:
    return MemoryStore(130, coils=16)


@contextmanager
def served(mem: MemoryStore, endpoint: str = FREE, **limits: Any) -> Iterator[ModbusServer]:
    with ModbusServer(mem, endpoint, **limits) as server:
        yield server


@contextmanager
def client_from(server: ModbusServer, address: str) -> Iterator[RawClient]:
    """A client at another address of this machine."""
    raw = RawClient.__new__(RawClient)
    raw.socket = socket.create_connection(
        ("127.0.0.1", port_of(server.endpoint)), timeout=PATIENCE, source_address=(address, 0)
    )
    raw._transaction = 0
    with raw:
        yield raw


def peers(server: ModbusServer) -> list[Peer]:
    return list(server._engine._peers)


def is_open(raw: RawClient) -> bool:
    """Does it still get an answer?"""
    try:
        return raw.ask(READ)[:2] == b"\x03\x02"
    except (AssertionError, OSError):
        return False


def hung_up(raw: RawClient, within: float = PATIENCE) -> bool:
    raw.socket.settimeout(within)
    try:
        while raw.socket.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


# -- connections


def test_from_one_address_the_one_idle_longest_gives_way(mem: MemoryStore) -> None:
    with served(mem, max_connections_per_address=3) as server, ExitStack() as stack:
        old = [stack.enter_context(RawClient(server.endpoint)) for _ in range(3)]
        for client in (old[1], old[0], old[2]):
            assert is_open(client)
        new = stack.enter_context(RawClient(server.endpoint))
        assert is_open(new)
        assert hung_up(old[1])
        assert is_open(old[0])
        assert is_open(old[2])
        assert len(peers(server)) == 3


def test_who_never_asked_gives_way_to_others_though_it_came_last(mem: MemoryStore) -> None:
    with served(mem, max_connections_per_address=2) as server, RawClient(server.endpoint) as worker:
        assert is_open(worker)
        with RawClient(server.endpoint) as mute:
            wait_until(lambda: len(peers(server)) == 2)
            with RawClient(server.endpoint) as new:
                assert is_open(new)
                assert hung_up(mute)
                assert is_open(worker)


def test_who_is_in_the_middle_of_a_frame_gives_way(mem: MemoryStore) -> None:
    with served(mem, max_connections_per_address=2) as server, RawClient(server.endpoint) as worker:
        assert is_open(worker)
        with RawClient(server.endpoint) as halfway:
            assert is_open(halfway)
            halfway.send(mbap(READ)[:8])
            wait_until(lambda: any(not peer.merit[0] for peer in peers(server)))
            with RawClient(server.endpoint) as new:
                assert is_open(new)
                assert hung_up(halfway)
                assert is_open(worker)


def test_connections_in_all(mem: MemoryStore) -> None:
    with served(mem, max_connections=4, max_connections_per_address=2) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_from(server, f"127.0.0.{number}")) for number in (2, 2, 3, 3)]
        assert all(is_open(client) for client in clients)
        new = stack.enter_context(client_from(server, "127.0.0.4"))
        assert is_open(new)
        assert hung_up(clients[0])
        assert all(is_open(client) for client in clients[1:])
        assert len(peers(server)) == 4


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9"], ids=["from its own address", "from elsewhere"])
def test_a_flood_of_connections_does_not_throw_a_working_client_out(mem: MemoryStore, address: str) -> None:
    times = []
    with served(mem, max_connections=16, max_connections_per_address=8) as server, RawClient(server.endpoint) as worker:
        assert is_open(worker)
        flood: list[socket.socket] = []
        try:
            for _ in range(200):
                for _ in range(5):
                    sock = socket.socket()
                    sock.setblocking(False)
                    sock.bind((address, 0))
                    sock.connect_ex(("127.0.0.1", port_of(server.endpoint)))
                    flood.append(sock)
                began = time.perf_counter()
                assert is_open(worker)
                times.append(time.perf_counter() - began)
            assert len(peers(server)) <= 16
        finally:
            for sock in flood:
                sock.close()
    times.sort()
    assert times[len(times) * 99 // 100] < 0.020


# -- deadlines


def test_a_frame_has_to_be_complete_in_time(mem: MemoryStore) -> None:
    with (
        served(mem, frame_deadline=0.2) as server,
        RawClient(server.endpoint) as slow,
        RawClient(server.endpoint) as idle,
    ):
        assert is_open(idle)
        began = time.monotonic()
        slow.send(mbap(READ)[:5])
        assert hung_up(slow)
        assert 0.1 < time.monotonic() - began < 2.0
        assert is_open(idle), "who is between two frames has all the time"


def test_a_byte_now_and_then_does_not_help(mem: MemoryStore) -> None:
    with served(mem, frame_deadline=0.2) as server, RawClient(server.endpoint) as slow:
        frame = mbap(b"\x10\0\0\0\x7b\xf6" + bytes(246))
        while frame and not select.select([slow.socket], [], [], 0.01)[0]:
            slow.send(frame[:1])
            frame = frame[1:]
        assert frame, "it was not closed before the end of its frame"
        assert slow.closed()
        assert mem[0] == 0


def test_noise_on_a_line_is_no_frame_that_has_begun(mem: MemoryStore) -> None:
    with served(mem, "rtu+tcp://127.0.0.1:0", frame_deadline=0.3) as server, RawClient(server.endpoint) as raw:
        raw.send(b"\x01\x03\0")
        wait_until(lambda: any(peer.frame_began is not None for peer in peers(server)))
        wait_until(lambda: all(peer.frame_began is None for peer in peers(server)))
        assert not select.select([raw.socket], [], [], 0.5)[0], "it is still connected"


def test_who_asks_nothing_is_closed(mem: MemoryStore) -> None:
    with served(mem, idle_timeout=0.3) as server, RawClient(server.endpoint) as mute, RawClient(server.endpoint) as raw:
        deadline = Deadline(PATIENCE)
        wait_until(lambda: len(peers(server)) == 2)
        while peers(server)[1:]:
            assert is_open(raw)
            assert deadline.wait_a_little()
        assert hung_up(mute)
        assert is_open(raw)
        assert hung_up(raw)


# -- replies that nobody takes


def fill(raw: RawClient, data: bytes, server: ModbusServer) -> tuple[int, int]:
    """Send for as long as it is taken, and read nothing: what the server has unsent and unanswered, at most."""
    unsent = waiting = 0
    raw.socket.setblocking(False)
    deadline = Deadline(PATIENCE)
    while not deadline.over:
        for peer in peers(server):
            assert peer._channel is not None
            unsent = max(unsent, peer._channel.unsent)
            waiting = max(waiting, len(peer._requests) + len(peer._later))
        _, writable, _ = select.select([], [raw.socket], [], 0.02)
        if writable:
            try:
                raw.socket.send(data)
            except OSError:
                break
        if not peers(server):
            break
    assert not deadline.over
    return unsent, waiting


def test_a_peer_that_never_reads_costs_little_and_is_dropped(mem: MemoryStore) -> None:
    limits: dict[str, Any] = {"max_unsent": 8192, "unsent_deadline": 0.4, "max_in_flight": 16}
    with served(mem, **limits) as server, RawClient(server.endpoint) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unsent, waiting = fill(raw, mbap(LONG_READ) * 200, server)
        assert unsent <= 8192 + 16 * 260
        # One segment may come on top: 8192 bytes, in frames of 12.
        assert waiting <= 16 * BACKLOG + 8192 // 12
        with RawClient(server.endpoint) as other:
            assert is_open(other)


def test_who_reads_again_in_time_gets_every_reply(mem: MemoryStore) -> None:
    with served(mem, max_unsent=4096, unsent_deadline=5.0) as server, RawClient(server.endpoint) as raw:
        many = 40_000  # more than all buffers on the way can hold
        sender = threading.Thread(target=lambda: raw.send(b"".join(mbap(LONG_READ, number) for number in range(many))))
        sender.start()
        wait_until(lambda: any(peer._full_since is not None for peer in peers(server)))
        assert [raw.frame()[0] for _ in range(many)] == list(range(many))
        sender.join()
        assert peers(server)[0].idle.is_set()


def test_who_sends_faster_than_it_is_answered_is_read_no_faster(mem: MemoryStore) -> None:
    """The shortest requests: a segment holds hundreds of them, and one turn of the loop answers sixteen."""
    with served(mem) as server, RawClient(server.endpoint) as raw:
        many = 20_000
        sender = threading.Thread(target=lambda: raw.send(mbap(b"\x41") * many))
        sender.start()
        waiting, left = 0, many * 9
        while left:
            waiting = max([waiting, *(len(peer._requests) for peer in peers(server))])
            left -= len(raw.socket.recv(min(left, 4096)))
        sender.join()
        assert waiting <= 16 * BACKLOG + 8192 // 8


def test_a_full_segment_of_one_does_not_stall_the_others(mem: MemoryStore) -> None:
    stop = threading.Event()
    times: list[float] = []
    with served(mem) as server, RawClient(server.endpoint) as greedy, RawClient(server.endpoint) as other:
        greedy.socket.settimeout(0.05)

        def hog() -> None:
            segment = mbap(LONG_READ) * 300
            while not stop.is_set():
                try:
                    greedy.socket.sendall(segment)
                    while select.select([greedy.socket], [], [], 0)[0]:
                        greedy.socket.recv(1 << 20)
                except TimeoutError:
                    greedy.socket.recv(1 << 20)

        thread = threading.Thread(target=hog)
        thread.start()
        try:
            for _ in range(100):
                began = time.perf_counter()
                assert is_open(other)
                times.append(time.perf_counter() - began)
        finally:
            stop.set()
            thread.join()
    times.sort()
    assert times[50] < 0.02, "three threads share one interpreter: the median is what can be promised"


def test_noise_of_one_does_not_stall_the_others(mem: MemoryStore) -> None:
    """In noise, every byte may begin an RTU frame: no more of it is looked at in one turn than takes a moment."""
    endpoint, slowest = "rtu+tcp://127.0.0.1:0", 0.0
    with served(mem, endpoint) as server, RawClient(server.endpoint) as noisy, RawClient(server.endpoint) as other:
        request, reply = bytes.fromhex("010300000001840a"), bytes.fromhex("0103020000b844")
        thread = threading.Thread(target=lambda: noisy.send(b"\x01\x14\xf5" * 20_000))
        thread.start()
        for _ in range(10):
            began = time.perf_counter()
            other.send(request)
            assert other.read(len(reply)) == reply
            slowest = max(slowest, time.perf_counter() - began)
        thread.join()
    assert slowest < 0.5


# -- asked before a write


class Hook:
    """A `before_write` that takes as long as the test wants."""

    def __init__(self) -> None:
        self.asked: list[RemoteWrite] = []
        self.go = threading.Event()

    def __call__(self, write: RemoteWrite) -> None:
        self.asked.append(write)
        assert self.go.wait(PATIENCE)


class AsyncHook(Hook):
    async def waiting(self, write: RemoteWrite) -> None:
        self.asked.append(write)
        await until(self.go.is_set)


def hooks() -> list[Any]:
    slow, patient = Hook(), AsyncHook()
    return [pytest.param(slow, slow, id="blocking"), pytest.param(patient, patient.waiting, id="async")]


@pytest.mark.parametrize(("hook", "before_write"), hooks())
@pytest.mark.parametrize("pieces", [1, 5], ids=["in one segment", "one by one"])
def test_beyond_what_is_in_flight_there_is_exception_06(
    mem: MemoryStore, hook: Hook, before_write: Any, pieces: int
) -> None:
    hook.go.clear()
    hook.asked.clear()
    with (
        served(mem, before_write=before_write, max_in_flight=2) as server,
        RawClient(server.endpoint) as raw,
        RawClient(server.endpoint) as other,
    ):

        def came(many: int) -> bool:
            return sum(len(peer._requests) + len(peer._later) for peer in peers(server)) >= many

        frames = [mbap(write_one(number, 7), number) for number in range(5)]
        for at in range(0, 5, 5 // pieces):
            raw.send(b"".join(frames[at : at + 5 // pieces]))
            wait_until(partial(came, at + 5 // pieces))
        wait_until(lambda: hook.asked)
        assert is_open(other), "the others do not notice"
        assert mem[0:5] == [0] * 5, "nothing is written before the application has said so"
        hook.go.set()
        replies = [raw.frame() for _ in range(5)]
        assert [transaction for transaction, _, _ in replies] == list(range(5))
        assert [pdu for _, _, pdu in replies] == [write_one(0, 7), write_one(1, 7), *([bytes((0x86, BUSY))] * 3)]
        assert mem[0:5] == [7, 7, 0, 0, 0]
        assert is_open(raw)


def test_reads_behind_a_write_that_is_asked_about_see_it(mem: MemoryStore) -> None:
    hook = Hook()
    with served(mem, before_write=hook) as server, RawClient(server.endpoint) as raw:
        raw.send(mbap(write_one(0, 9), 1) + mbap(READ, 2))
        wait_until(lambda: hook.asked)
        hook.go.set()
        assert raw.frame() == (1, 1, write_one(0, 9))
        assert raw.frame() == (2, 1, b"\x03\x02\0\x09")


def test_many_reads_at_once_are_never_too_many(mem: MemoryStore) -> None:
    with served(mem, before_write=lambda _: None, max_in_flight=2) as server, RawClient(server.endpoint) as raw:
        raw.send(b"".join(mbap(READ, number) for number in range(100)))
        assert [raw.frame()[2] for _ in range(100)] == [b"\x03\x02\0\0"] * 100


@pytest.mark.parametrize(
    ("error", "code"),
    [(IllegalValueError("no"), 3), (IllegalAddressError("no"), 2), (RuntimeError("a mistake"), 4)],
    ids=["refused", "refused otherwise", "raised"],
)
def test_a_hook_refuses(mem: MemoryStore, error: Exception, code: int, caplog: pytest.LogCaptureFixture) -> None:
    def hook(write: RemoteWrite) -> None:
        if write.values == (13,):
            raise error

    with served(mem, before_write=hook) as server, RawClient(server.endpoint) as raw:
        assert raw.ask(write_one(0, 13)) == bytes((0x86, code))
        assert mem[0] == 0
        assert raw.ask(write_one(0, 12)) == write_one(0, 12), "the connection lives"
    assert ("before_write raised" in caplog.text) == isinstance(error, RuntimeError)


def test_a_hook_corrects(mem: MemoryStore) -> None:
    def hook(write: RemoteWrite) -> tuple[int, ...]:
        return tuple(min(value, 100) for value in write.values)

    with served(mem, before_write=hook) as server, RawClient(server.endpoint) as raw:
        assert raw.ask(write_one(0, 500)) == write_one(0, 500)
        assert mem[0] == 100
        raw.ask(struct.pack(">BHHB3H", 16, 1, 3, 6, 99, 100, 101))
        assert mem[1:4] == [99, 100, 100]
        raw.ask(struct.pack(">BHH", 5, 3, 0xFF00))
        assert mem.get_value(3, table="coil") == 1


@pytest.mark.parametrize("answer", [(1, 2), (), (70000,), (-1,), ("x",), 5], ids=repr)
def test_a_hook_that_answers_nonsense_refuses(mem: MemoryStore, answer: object) -> None:
    with served(mem, before_write=lambda _: answer) as server, RawClient(server.endpoint) as raw:
        assert raw.ask(write_one(0, 1)) == b"\x86\x04"
        assert mem[0] == 0


def test_what_is_refused_anyway_is_not_asked_about(mem: MemoryStore) -> None:
    asked: list[RemoteWrite] = []
    with served(mem, before_write=asked.append) as server, RawClient(server.endpoint) as raw:
        assert raw.ask(write_one(130, 1)) == b"\x86\x02"
        assert raw.ask(write_one(0, 1)[:-1]) == b"\x86\x03"
        assert raw.ask(READ) == b"\x03\x02\0\0"
        assert not asked
        raw.ask(struct.pack(">BHHH", 22, 0, 0xFF00, 0x0055))
        assert asked == [RemoteWrite(1, "holding", 0, (0x55,))]


# -- callbacks


@pytest.mark.parametrize("raises", [False, True], ids=["blocks", "raises"])
def test_a_callback_holds_nobody_up(mem: MemoryStore, raises: bool, caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()
    called = threading.Event()

    def callback(_change: object) -> None:
        called.set()
        if raises:
            raise RuntimeError("a mistake of the application")
        assert go.wait(PATIENCE)

    mem.NUMBER = MemoryVariable.word(0)
    watch = mem.watch("NUMBER", callback)
    try:
        with served(mem) as server, RawClient(server.endpoint) as raw, RawClient(server.endpoint) as other:
            assert raw.ask(write_one(0, 5)) == write_one(0, 5)
            assert called.wait(PATIENCE)
            assert mem[0] == 5
            assert raw.ask(write_one(1, 6)) == write_one(1, 6), "the connection lives"
            assert other.ask(b"\x03\0\0\0\x02") == b"\x03\x04\0\x05\0\x06"
    finally:
        go.set()
        watch.cancel()


# -- who may connect


@pytest.mark.parametrize(
    ("allow", "address", "may"),
    [
        ((), "192.0.2.1", True),
        (("192.0.2.0/24",), "192.0.2.255", True),
        (("192.0.2.0/24",), "192.0.3.1", False),
        (("192.0.2.7",), "192.0.2.7", True),
        (("192.0.2.7",), "192.0.2.8", False),
        (("10.0.0.0/8", "192.0.2.7"), "10.255.0.1", True),
        (("192.0.2.0/24",), "::ffff:192.0.2.1", True),
        (("192.0.2.0/24",), "::ffff:192.0.3.1", False),
        (("2001:db8::/32",), "2001:db8:1::1", True),
        (("2001:db8::/32",), "2001:db9::1", False),
        (("2001:db8::/32",), "192.0.2.1", False),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("0.0.0.0/0",), "192.0.2.1", True),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("::/0",), "192.0.2.1", False),
    ],
)
def test_networks(allow: tuple[str, ...], address: str, may: bool) -> None:
    assert ServerSettings(allow=allow).allows(address) is may


@pytest.mark.parametrize("allow", ["192.0.2.0/24", ["192.0.2.1/24"], ["nowhere"], ["192.0.2.0/33"]], ids=repr)
def test_what_is_no_network_is_said_at_once(allow: Any) -> None:
    with pytest.raises(DeclarationError, match="allow="):
        ServerSettings(allow=allow)


def test_only_allowed_clients_are_served(mem: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    with (
        served(mem, allow=["127.0.0.2", "::1"]) as server,
        client_from(server, "127.0.0.2") as friend,
        client_from(server, "127.0.0.3") as stranger,
    ):
        assert is_open(friend)
        assert hung_up(stranger)
        assert len(peers(server)) == 1
    assert "127.0.0.3" in caplog.text


@pytest.mark.parametrize(("allow", "may"), [(["::1"], True), (["2001:db8::/32", "127.0.0.1"], False)])
def test_ipv6_clients(mem: MemoryStore, allow: list[str], may: bool) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with (
        served(mem, "tcp://[::1]:0", allow=allow) as server,
        socket.create_connection(("::1", port_of(server.endpoint)), timeout=PATIENCE) as sock,
    ):
        sock.sendall(mbap(READ))
        try:
            assert bool(sock.recv(100)) is may
        except ConnectionResetError:
            assert not may


@pytest.mark.parametrize(
    ("endpoint", "keywords", "warned"),
    [
        ("tcp://0.0.0.0:0", {}, True),
        ("tcp://0.0.0.0:0", {"allow": ["127.0.0.0/8"]}, False),
        ("tcp://127.0.0.1:0", {}, False),
        ("tcp://localhost:0", {}, False),
        ("memory://limits", {}, False),
    ],
)
def test_it_is_said_once_when_everybody_may_come(
    mem: MemoryStore, endpoint: str, keywords: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), served(mem, endpoint, **keywords):
        pass
    assert caplog.text.count("open to everybody") == warned


def test_a_flood_is_a_few_lines_in_the_log(mem: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    with served(mem, max_connections_per_address=1) as server:
        for number in range(100):
            with RawClient(server.endpoint) as raw:
                raw.send(mbap(READ, protocol=number + 1))
                assert hung_up(raw)
    assert len(caplog.records) < 20


# -- out of descriptors

CHILD = """
import logging, os, resource, sys, time
from msm import MemoryStore, ModbusServer
LIMITS = {"max_connections": 1000, "max_connections_per_address": 1000}
logging.basicConfig()
with ModbusServer(MemoryStore(8), "tcp://127.0.0.1:0", **LIMITS) as server:
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10,) * 2)
    print(server.endpoint, flush=True)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)
"""


def test_without_descriptors_it_goes_on_with_those_it_has() -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None

    asked, told = child.stdin, child.stdout

    def cpu() -> float:
        asked.write("\n")
        asked.flush()
        return float(told.readline())

    try:
        endpoint = child.stdout.readline().strip()
        with RawClient(endpoint) as worker:
            assert is_open(worker)
            with ExitStack() as stack:
                flood = [stack.enter_context(RawClient(endpoint)) for _ in range(40)]
                assert is_open(flood[0])
                before, began = cpu(), time.monotonic()
                while time.monotonic() - began < 0.7:
                    assert is_open(worker)
                    select.select([worker.socket], [], [], 0.02)
                assert cpu() - before < 0.35, "it does not spin"
                assert not select.select([flood[-1].socket], [], [], 0)[0]
            with RawClient(endpoint) as new:
                new.socket.settimeout(5.0)
                assert is_open(new), "it serves again"
            assert is_open(worker)
    finally:
        _, logged = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, logged
    assert logged.count("\n") <= 3, logged
    assert "no new connections for now" in logged


# -- the end


def test_what_is_being_answered_is_finished(mem: MemoryStore) -> None:
    hook = Hook()
    server = ModbusServer(mem, FREE, before_write=hook, linger=5.0)
    server.run()
    with RawClient(server.endpoint) as raw:
        raw.send(mbap(write_one(0, 3)) + mbap(READ, 2))
        wait_until(lambda: hook.asked)
        ending = threading.Thread(target=server.kill)
        ending.start()

        def refused() -> bool:
            try:
                RawClient(server.endpoint).socket.close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(refused, what="listening to end first")
        hook.go.set()
        assert raw.frame() == (1, 1, write_one(0, 3))
        assert raw.frame() == (2, 1, b"\x03\x02\0\x03")
        assert raw.closed()
        ending.join(PATIENCE)
    assert mem[0] == 3


async def test_the_end_does_not_wait_for_ever_and_what_was_not_allowed_is_not_written(mem: MemoryStore) -> None:
    asked = asyncio.Event()

    async def hook(_write: RemoteWrite) -> None:
        asked.set()
        await asyncio.Event().wait()

    server = AsyncModbusServer(mem, FREE, before_write=hook, linger=0.1)
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server.endpoint))
        writer.write(mbap(write_one(0, 3)))
        await asked.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    assert await reader.read() == b""
    writer.close()
    assert mem[0] == 0


def test_the_end_of_one_with_a_backlog_nobody_reads(mem: MemoryStore) -> None:
    server = ModbusServer(mem, FREE, before_write=lambda _: None, linger=0.2, max_unsent=1024)
    server.run()
    with RawClient(server.endpoint) as raw:
        assert raw.ask(write_one(0, 1)) == write_one(0, 1)
        raw.socket.setblocking(False)
        while not any(peer._full_since for peer in peers(server)):
            if select.select([], [raw.socket], [], 0.01)[1]:
                raw.socket.send(mbap(LONG_READ) * 100)
        began = time.monotonic()
        server.kill()
        assert time.monotonic() - began < 1.5


def test_the_address_is_free_at_once(mem: MemoryStore) -> None:
    port = 0
    for _ in range(5):
        with served(mem, f"tcp://127.0.0.1:{port}") as server, RawClient(server.endpoint) as raw:
            assert is_open(raw)
            port = port_of(server.endpoint)
            server.kill()


@pytest.mark.parametrize("many", [1, 100])
def test_who_has_said_all_it_has_to_say_still_gets_its_replies(mem: MemoryStore, many: int) -> None:
    with served(mem) as server, RawClient(server.endpoint) as raw:
        raw.send(b"".join(mbap(READ, number) for number in range(many)))
        raw.socket.shutdown(socket.SHUT_WR)
        assert [raw.frame()[0] for _ in range(many)] == list(range(many))
        assert raw.closed()


def test_half_a_frame_and_the_end(mem: MemoryStore) -> None:
    with served(mem) as server, RawClient(server.endpoint) as raw:
        raw.send(mbap(READ) + mbap(READ)[:9])
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.frame() == (1, 1, b"\x03\x02\0\0")
        assert raw.closed()


async def test_a_datagram_of_thousands_of_requests_is_not_piled_up() -> None:
    """There is no way to make its sender wait: what is beyond the bound is lost, as a datagram may be."""
    mem = MemoryStore(8)
    read = bytes.fromhex("000100000006010300000001")
    async with AsyncModbusServer(mem, "udp://127.0.0.1:0", max_in_flight=2) as server:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", int(server.endpoint.rsplit(":", 1)[1])))
            await loop.sock_sendall(sock, read * 5000)
            answered = 0
            with suppress(TimeoutError):
                while True:
                    answered += len(await asyncio.wait_for(loop.sock_recv(sock, 65536), 0.5)) // 11
    assert 2 <= answered <= 2 * 16


def test_only_what_is_writable_can_be_written() -> None:
    """Refused like an address that is not there, and nothing is written by half."""
    store = MemoryStore(20, coils=16)
    with (
        ModbusServer(store, FREE, writable={"holding": [(2, 4), (10, 1)]}) as server,
        RawClient(server.endpoint) as raw,
    ):
        for request, allowed in (
            ("06 0002 0001", True),
            ("06 0005 0001", True),
            ("06 0006 0001", False),
            ("06 0001 0001", False),
            ("10 0002 0004 08 0001 0001 0001 0001", True),
            ("10 0005 0002 04 0001 0001", False),
            ("16 000A 0000 0007", True),
            ("16 0009 0000 0007", False),
            ("17 0000 0014 0002 0001 02 0001", True),
            ("17 0000 0014 0000 0001 02 0001", False),
            ("05 0000 FF00", False),
            ("0F 0000 0001 01 01", False),
            ("03 0000 0014", True),
            ("01 0000 0010", True),
        ):
            before = store[:]
            reply = raw.ask(bytes.fromhex(request))
            code = int(request[:2], 16)
            assert reply[0] == code if allowed else reply == bytes((code | 0x80, 2)), request
            if not allowed:
                assert store[:] == before
        assert store.get_value(0, table="coil") == 0
        store[0] = 9  # the application itself may


@pytest.mark.parametrize(
    ("writable", "message"),
    [
        ([(0, 1)], "not a mapping"),
        ({"input": [(0, 1)]}, "none of 'holding', 'coil'"),
        ({"holding": [(0, 0)]}, r"\(0, 0\) is not"),
        ({"holding": [5]}, "5 is not"),
        ({"coil": [(65535, 2)]}, r"\(65535, 2\) is not"),
    ],
)
def test_ranges_that_are_none(writable: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        AsyncModbusServer(MemoryStore(1), FREE, writable=writable)


def test_a_client_that_has_reset_its_connection_is_still_known(mem: MemoryStore) -> None:
    """What it has sent is still read, though the socket does not know any more whose it was."""
    with served(mem, allow=["10.0.0.0/8"]) as server:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port_of(server.endpoint))) as sock:
                sock.send(mbap(write_one(3, 0x1234)))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not peers(server))
        assert mem[3] == 0


def test_who_is_leaving_keeps_no_place(mem: MemoryStore) -> None:
    """Something that is no Modbus behind a write that is never decided, and replies that nobody takes."""
    hold = threading.Event()
    limits: dict[str, Any] = {"unsent_deadline": 0.4, "frame_deadline": 0.4, "max_connections": 2}
    with served(mem, before_write=lambda _: hold.wait(10) and None, **limits) as server:
        attackers = []
        for _ in range(5):
            raw = RawClient(server.endpoint)
            raw.send(mbap(LONG_READ) * 3 + mbap(write_one(3, 1)) + mbap(READ) + b"garbage garbage")
            attackers.append(raw)
            assert len(peers(server)) <= 3
        wait_until(lambda: not peers(server), what="all of them are gone")
        hold.set()
        for raw in attackers:
            raw.socket.close()


def test_what_the_application_is_asked_at_a_time_is_bounded(mem: MemoryStore) -> None:
    hold = threading.Event()
    asked: list[RemoteWrite] = []

    def wait(write: RemoteWrite) -> None:
        asked.append(write)
        hold.wait(10)

    with served(mem, before_write=wait) as server:
        servant = server._engine._units[1]
        for number in range(64):
            with client_from(server, f"127.0.5.{number // 4 + 1}") as raw:
                raw.send(mbap(write_one(3, 1)))
                wait_until(lambda: len(servant._asked) == number + 1)  # noqa: B023 - within this turn
        with RawClient(server.endpoint) as raw:
            assert raw.ask(write_one(3, 1)) == bytes((0x86, BUSY))
        assert len(asked) <= 64
        hold.set()


def test_a_hook_that_wants_to_end_everything_ends_nothing(mem: MemoryStore) -> None:
    def leave(_write: RemoteWrite) -> None:
        sys.exit(3)

    with served(mem, before_write=leave) as server, RawClient(server.endpoint) as raw:
        assert raw.ask(write_one(3, 1)) == b"\x86\x04"
        assert raw.ask(READ)[:2] == b"\x03\x02"
