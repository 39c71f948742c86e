"""The synchronous doors: starting, waiting, stopping, and being forgotten."""

from __future__ import annotations

import asyncio
import errno
import importlib.machinery
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

import msm.sync
import msm.worker
from msm import (
    BindError,
    ConnectError,
    LinkError,
    LinkState,
    LinkTimeoutError,
    MemoryStore,
    MemoryVariable,
    ModbusClient,
    ModbusServer,
    MsmError,
    StateError,
    WriteError,
)
from msm.wire import listening
from msm.wire.endpoint import Endpoint
from tests.support import FREE, PATIENCE, Deadline, free_port, port_of, taken_port, wait_until


def store() -> MemoryStore:
    mem = MemoryStore(8)
    mem.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    mem.CONTROL_WORD = MemoryVariable.word(address=3)
    return mem


@pytest.fixture
def near() -> MemoryStore:
    return store()


@pytest.fixture
def far() -> MemoryStore:
    return store()


@pytest.fixture
def server(far: MemoryStore) -> Iterator[ModbusServer]:
    with ModbusServer(far, FREE) as running:
        yield running


@pytest.fixture
def silent_peer() -> Iterator[str]:
    """Somebody who accepts connections (the kernel does) and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("Modbus")]


# -- running


def test_run_flush_refresh_kill(near: MemoryStore, far: MemoryStore) -> None:
    far.CURRENT_VALUE = 99999
    server = ModbusServer(far, FREE)
    server.run()
    client = ModbusClient(near, server.endpoint, period=60)
    states = [client.state]
    client.run()
    states.append(client.state)
    assert near.CURRENT_VALUE == 99999, "the first exchange is in when run() returns"
    near.CONTROL_WORD = 25
    client.flush()
    assert far.CONTROL_WORD == 25
    far.CURRENT_VALUE = 7
    client.refresh()
    assert near.CURRENT_VALUE == 7
    assert (client.ledger.acknowledged, client.ledger.total, client.stats.cycles) == (1, 1, 2)
    client.kill()
    server.kill()
    states.append(client.state)
    assert states == [LinkState.CONNECTING, LinkState.ONLINE, LinkState.CLOSED]
    assert not workers()


def test_the_endpoint_is_the_one_really_bound(far: MemoryStore) -> None:
    server = ModbusServer(far, FREE)
    assert server.endpoint == FREE
    with server:
        assert port_of(server.endpoint) != 0
        with socket.create_connection(("127.0.0.1", port_of(server.endpoint)), timeout=PATIENCE):
            pass


def test_workers_are_daemon_threads(server: ModbusServer) -> None:
    assert [thread.daemon for thread in workers()] == [True]


def test_context_managers_kill(near: MemoryStore, far: MemoryStore) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117
        with ModbusServer(far, FREE) as server, ModbusClient(near, server.endpoint) as client:
            assert len(workers()) == 2
            _ = 1 / 0
    assert not workers()
    assert client.state is LinkState.CLOSED


def test_attributes_never_wait_for_the_loop(near: MemoryStore, server: ModbusServer) -> None:
    with ModbusClient(near, server.endpoint) as client:
        blocked, go_on = threading.Event(), threading.Event()

        async def block() -> None:
            blocked.set()
            go_on.wait(PATIENCE)

        worker = client._worker
        assert worker is not None
        waiting = threading.Thread(target=worker.call, args=(block,))
        waiting.start()
        assert blocked.wait(PATIENCE)
        for value in range(1000):
            near.CURRENT_VALUE = value
            assert value == near.CURRENT_VALUE
        assert waiting.is_alive()
        go_on.set()
        waiting.join(PATIENCE)
        client.flush()


# -- what cannot be started


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_taken_port(far: MemoryStore, host: str) -> None:
    with taken_port() as port:
        server = ModbusServer(far, f"tcp://{host}:{port}")
        with pytest.raises(BindError) as caught:
            server.run()
        assert not workers(), "nothing is left running"
        message = str(caught.value)
        for part in (f"tcp://{host}:{port}", "taken", ":0"):
            assert part in message
        assert isinstance(caught.value, OSError)
    server.run()  # when the other one is gone it may be tried again
    server.kill()


def test_a_port_that_another_server_of_ours_has(server: ModbusServer, near: MemoryStore) -> None:
    with pytest.raises(BindError, match="taken"):
        ModbusServer(near, server.endpoint).run()


def test_a_privileged_port(far: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(listening, "_bind", refuse)
    with pytest.raises(BindError, match=r"port 502: ports below 1024 are privileged.*5020"):
        ModbusServer(far).run()
    assert not workers()


def test_an_address_that_is_not_ours(far: MemoryStore) -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1"):  # TEST-NET-1: nobody has it
        ModbusServer(far, "tcp://192.0.2.1:0").run()
    assert not workers()


def test_a_name_that_nobody_knows(near: MemoryStore, far: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(BindError, match="name is not known"):
        ModbusServer(far, "tcp://press.invalid:5020").run()
    with pytest.raises(ConnectError, match="name is not known"):
        ModbusClient(near, "tcp://press.invalid:5020").run(wait=0.2)


def test_a_name_that_cannot_be_one(near: MemoryStore, far: MemoryStore) -> None:
    name = f"tcp://{'x' * 70}.invalid:5020"  # a label has at most 63 characters
    with pytest.raises(BindError):
        ModbusServer(far, name).run()
    with pytest.raises(ConnectError):
        ModbusClient(near, name).run(wait=0.2)


def test_what_is_said_about_each_reason() -> None:
    there = Endpoint.parse("tcp://plc:80")
    assert "privileged" in listening._advice(there, PermissionError(errno.EACCES, "x"))
    assert "taken" in listening._advice(there, OSError(errno.EADDRINUSE, "x"))
    assert listening._advice(there, OSError(errno.EIO, "strange")) == "strange"


@pytest.mark.parametrize("wait", [0.05, 0.3])
def test_nobody_there(near: MemoryStore, wait: float) -> None:
    client = ModbusClient(near, f"tcp://127.0.0.1:{free_port()}", timeout=5.0)
    began = time.monotonic()
    with pytest.raises(ConnectError, match=r"refused.*server running"):
        client.run(wait=wait)
    assert wait <= time.monotonic() - began + 0.01 < wait + 1.0
    assert not workers()


def test_somebody_who_never_answers(near: MemoryStore, silent_peer: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectError, match="no answer"):
        ModbusClient(near, silent_peer, timeout=0.05).run(wait=0.3)
    assert time.monotonic() - began < 1.3
    assert not workers()


def test_run_without_waiting_comes_online_when_the_server_appears(near: MemoryStore, far: MemoryStore) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    far.CURRENT_VALUE = 5
    client = ModbusClient(near, endpoint, period=0.01, backoff=lambda: iter([0.01] * 1000))
    began = time.monotonic()
    client.run(wait=0)
    assert time.monotonic() - began < 1.0
    wait_until(lambda: client.state is LinkState.OFFLINE)
    near.CONTROL_WORD = 11
    with ModbusServer(far, endpoint):
        wait_until(lambda: client.state is LinkState.ONLINE)
        client.flush()
        assert far.CONTROL_WORD == 11
        wait_until(lambda: near.CURRENT_VALUE == 5)
    wait_until(lambda: client.state is LinkState.OFFLINE)
    assert near.CURRENT_VALUE == 5, "values hold"
    with ModbusServer(far, endpoint):
        wait_until(lambda: client.state is LinkState.ONLINE)
    client.kill()


def test_a_failed_run_may_be_tried_again(near: MemoryStore, far: MemoryStore) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    client = ModbusClient(near, endpoint)
    with pytest.raises(ConnectError):
        client.run(wait=0.05)
    with pytest.raises(StateError, match="does not run"):
        client.flush()
    with ModbusServer(far, endpoint):
        client.run()
        near.CONTROL_WORD = 3
        client.flush()
        client.kill()
    assert far.CONTROL_WORD == 3


def test_no_event_loop_to_be_had(near: MemoryStore, far: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **_keywords: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("msm.worker.anyio.run", none_left)
    doors: list[ModbusServer | ModbusClient] = [ModbusServer(far, FREE), ModbusClient(near, FREE)]
    for door in doors:
        with pytest.raises(LinkError, match="Too many open files"):
            door.run()
    assert not workers()


# -- killing


def test_kill_is_idempotent(near: MemoryStore, server: ModbusServer) -> None:
    client = ModbusClient(near, server.endpoint)
    client.run()
    for _ in range(3):
        client.kill()
    for _ in range(3):
        server.kill()
    assert not workers()


def test_kill_before_run(near: MemoryStore, far: MemoryStore) -> None:
    doors: list[ModbusServer | ModbusClient] = [ModbusServer(far, FREE), ModbusClient(near, FREE)]
    for door in doors:
        door.kill()
        with pytest.raises(StateError):
            door.run()
    assert not workers()


def test_a_door_runs_once(near: MemoryStore, server: ModbusServer) -> None:
    client = ModbusClient(near, server.endpoint)
    client.run()
    for door in (client, server):
        with pytest.raises(StateError, match="runs once"):
            door.run()
    assert client.state is LinkState.ONLINE, "it goes on"
    client.kill()
    server.kill()
    for door in (client, server):
        with pytest.raises(StateError, match="runs once"):
            door.run()


def test_flush_and_refresh_of_a_door_that_does_not_run(near: MemoryStore, server: ModbusServer) -> None:
    client = ModbusClient(near, server.endpoint)
    for verb in (client.flush, client.refresh, client.read_device_identification):
        with pytest.raises(StateError, match="does not run"):
            verb()
    client.run()
    client.kill()
    for verb in (client.flush, client.refresh, client.read_device_identification):
        with pytest.raises(StateError, match="does not run"):
            verb()


def test_kill_from_many_threads_at_once(near: MemoryStore, server: ModbusServer) -> None:
    client = ModbusClient(near, server.endpoint)
    client.run()
    together = threading.Barrier(8)

    def kill(door: ModbusClient | ModbusServer) -> None:
        together.wait(PATIENCE)
        door.kill()

    with ThreadPoolExecutor(8) as pool:
        for result in [pool.submit(kill, door) for door in (client, server) * 4]:
            result.result(PATIENCE)
    assert not workers()


@pytest.mark.parametrize("who", ["client", "server"])
def test_kill_from_a_callback_in_the_loop_itself(near: MemoryStore, server: ModbusServer, who: str) -> None:
    client = ModbusClient(near, server.endpoint)
    client.run()
    door: Any = client if who == "client" else server
    told: list[str] = []

    async def callback() -> None:
        door.kill()
        door.kill()
        if door is client:
            with pytest.raises(StateError):
                client.flush()
        told.append("returned")

    asyncio.run_coroutine_threadsafe(callback(), door._worker._loop)
    wait_until(lambda: told)
    wait_until(lambda: len(workers()) == 1)
    client.kill()
    server.kill()


def test_waiting_from_a_callback_in_the_loop_is_refused(near: MemoryStore, server: ModbusServer) -> None:
    with ModbusClient(near, server.endpoint) as client:
        errors: list[BaseException] = []

        async def callback() -> None:
            for verb in (client.flush, client.refresh):
                try:
                    verb()
                except StateError as error:
                    errors.append(error)

        worker = client._worker
        assert worker is not None
        worker.call(callback)
        assert ["callback" in str(error) for error in errors] == [True, True]


def test_kill_sends_what_is_pending(near: MemoryStore, far: MemoryStore, server: ModbusServer) -> None:
    client = ModbusClient(near, server.endpoint, linger=5.0)
    client.run()
    near.CONTROL_WORD = 77
    near.CURRENT_VALUE = 78
    client.kill()
    assert (far.CONTROL_WORD, far.CURRENT_VALUE) == (77, 78)


def test_kill_is_bounded_when_the_device_is_silent(near: MemoryStore, silent_peer: str) -> None:
    client = ModbusClient(near, silent_peer, linger=0.2)
    client.run(wait=0)
    near.CONTROL_WORD = 1
    began = time.monotonic()
    client.kill()
    assert time.monotonic() - began < 1.5
    assert not workers()


def test_kill_at_any_moment_of_run(near: MemoryStore, server: ModbusServer) -> None:
    """Whichever comes first: afterwards nothing runs, and run() returned or said why not."""
    for turn in range(40):
        client = ModbusClient(near, server.endpoint, linger=0.0)
        go = threading.Barrier(2)

        def run() -> None:
            go.wait(PATIENCE)  # noqa: B023
            with suppress(StateError):
                client.run()  # noqa: B023

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run)
            go.wait(PATIENCE)
            end = time.perf_counter() + turn * 1e-4
            while time.perf_counter() < end:
                pass
            client.kill()
            running.result(PATIENCE)
        wait_until(lambda: len(workers()) == 1, timeout=2.0)  # the server's
        assert client.state is not LinkState.ONLINE


def test_kill_while_another_thread_waits_in_run(near: MemoryStore, silent_peer: str) -> None:
    client = ModbusClient(near, silent_peer, linger=0.0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.run, 30.0)
        wait_until(lambda: "no answer yet" in client._engine._conversation.trouble)
        client.kill()
        with pytest.raises(StateError, match=r"killed|stopped"):
            running.result(PATIENCE)
    assert not workers()


@pytest.mark.parametrize("verb", ["flush", "refresh", "read_device_identification"])
def test_kill_while_another_thread_waits(near: MemoryStore, verb: str) -> None:
    far = store()
    server = ModbusServer(far, FREE)
    server.run()
    client = ModbusClient(near, server.endpoint, period=60, linger=0.0, timeout=30.0)
    client.run()
    server.kill()
    wait_until(lambda: client.state is LinkState.OFFLINE)
    near.CONTROL_WORD = 1
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(getattr(client, verb), 30.0)
        wait_until(lambda: client._engine._conversation.waiters or client._engine._conversation.calls)
        client.kill()
        with pytest.raises(StateError):
            waiting.result(PATIENCE)
    assert not workers()


def test_flush_times_out_and_leaves_what_is_pending(near: MemoryStore, server: ModbusServer) -> None:
    client = ModbusClient(near, server.endpoint, linger=0.0)
    client.run()
    server.kill()
    wait_until(lambda: client.state is LinkState.OFFLINE)
    near.CONTROL_WORD = 1
    with pytest.raises(LinkTimeoutError) as caught:
        client.flush(timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert client.ledger.pending == 1
    client.kill()


def test_flush_tells_what_was_refused(near: MemoryStore) -> None:
    smaller = MemoryStore(3)
    with ModbusServer(smaller, FREE) as server, ModbusClient(near, server.endpoint, max_read=1) as client:
        near.CONTROL_WORD = 1
        with pytest.raises(WriteError, match="CONTROL_WORD: rejected"):
            client.flush()


# -- Ctrl+C


def test_ctrl_c_during_run_leaves_nothing(near: MemoryStore, silent_peer: str) -> None:
    client = ModbusClient(near, silent_peer)
    main = threading.main_thread().ident
    assert main is not None and threading.current_thread() is threading.main_thread()

    def interrupt() -> None:
        wait_until(lambda: "no answer yet" in client._engine._conversation.trouble)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        client.run(wait=30)
    thread.join(PATIENCE)
    assert not workers()


# -- doors that nobody kills


def run_program(body: str, *arguments: str, env: dict[str, str] | None = None) -> tuple[float, int, str, str]:
    """Runs a program that reports when its last line is reached; how long it took to end from there."""
    code = body + "\nimport sys, time\nprint(time.monotonic(), flush=True)\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **(env or {})},
        check=False,
    )
    ended = time.monotonic()
    assert done.stdout, done.stderr
    return ended - float(done.stdout.split()[-1]), done.returncode, done.stdout, done.stderr


FORGETFUL = """
from msm import *
a, b = MemoryStore(8), MemoryStore(8)
a.CONTROL_WORD = MemoryVariable.word(3)
"""

FORGOTTEN = {
    "a server": "server = ModbusServer(b, 'tcp://127.0.0.1:0'); server.run()",
    "a client and its server": """
server = ModbusServer(b, 'tcp://127.0.0.1:0'); server.run()
client = ModbusClient(a, server.endpoint); client.run()
a.CONTROL_WORD = 5
""",
    "a client that finds nobody": "client = ModbusClient(a, 'tcp://127.0.0.1:9'); client.run(wait=0)",
    "doors without a name": """
def run():
    server = ModbusServer(b, 'tcp://127.0.0.1:0'); server.run()
    ModbusClient(a, server.endpoint).run()
run()
""",
    "ten of them": """
servers = [ModbusServer(b, 'tcp://127.0.0.1:0') for _ in range(5)]
for server in servers: server.run()
clients = [ModbusClient(a, server.endpoint) for server in servers]
for client in clients: client.run()
""",
    "a client that still assigns": """
import threading
server = ModbusServer(b, 'tcp://127.0.0.1:0'); server.run()
client = ModbusClient(a, server.endpoint); client.run()
def assign():
    while True:
        a.CONTROL_WORD = 5
threading.Thread(target=assign, daemon=True).start()
""",
    "a client whose device is silent": """
import socket
listener = socket.create_server(('127.0.0.1', 0))
client = ModbusClient(a, f'tcp://127.0.0.1:{listener.getsockname()[1]}'); client.run(wait=0)
a.CONTROL_WORD = 5
import atexit; atexit.register(listener.close)
""",
}


@pytest.mark.parametrize("body", FORGOTTEN.values(), ids=FORGOTTEN)
def test_forgetting_kill_lets_the_program_end(body: str) -> None:
    took, code, _, stderr = run_program(FORGETFUL + body)
    assert (code, stderr) == (0, "")
    assert took < 2.0, f"{took:.2f} s"  # a second, and the interpreter's own end on a busy machine


def test_an_exception_ends_the_program_with_its_own_message_only() -> None:
    code = FORGETFUL + FORGOTTEN["a client and its server"] + "raise SystemExit(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def test_what_was_assigned_last_still_arrives_when_kill_is_forgotten() -> None:
    far = MemoryStore(130)
    with ModbusServer(far, FREE) as server:
        run_program(
            "import sys\nfrom msm import *\na = MemoryStore(130)\n"
            "client = ModbusClient(a, sys.argv[1])\nclient.run()\n"
            "sys.setswitchinterval(100)  # no turn for the client's thread but while this one waits or ends\n"
            "for address in range(0, 130, 2): a[address] = 4711  # no neighbours: a request for each",
            server.endpoint,
        )
    assert far[:] == [4711, 0] * 65


def test_a_forked_child_leaves_its_parents_doors_alone(near: MemoryStore, server: ModbusServer) -> None:
    with ModbusClient(near, server.endpoint, period=60) as client:
        pid = os.fork()
        if pid == 0:
            # Nothing here may reach pytest: the child says by its exit code what it saw.
            code = 1
            try:
                client.flush()
            except StateError:
                client.kill()
                server.kill()
                code = 0
            finally:
                os._exit(code)
        deadline = Deadline(PATIENCE)
        while not (ended := os.waitpid(pid, os.WNOHANG))[0] and deadline.wait_a_little():
            pass
        assert ended == (pid, 0)
        near.CONTROL_WORD = 6
        client.flush()


def test_doors_do_not_pile_up(near: MemoryStore, server: ModbusServer) -> None:
    for value in range(20):
        with ModbusClient(near, server.endpoint) as client:
            near.CONTROL_WORD = value
            client.flush()
    assert not [door for door in msm.sync._running if isinstance(door, ModbusClient)]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda client: client.run(wait=-1),
        lambda client: client.run(wait="soon"),
        lambda client: client.run(wait=float("nan")),
    ],
)
def test_a_wrong_wait_is_told_and_leaves_nothing(near: MemoryStore, wrong: Callable[[ModbusClient], None]) -> None:
    with pytest.raises(MsmError, match="wait"):
        wrong(ModbusClient(near, FREE))
    assert not workers()


@pytest.mark.parametrize("who", ["client", "server"])
def test_ctrl_c_just_as_a_start_has_succeeded_leaves_a_door_that_can_be_run(
    near: MemoryStore, far: MemoryStore, server: ModbusServer, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    door: Any = ModbusClient(near, server.endpoint) if who == "client" else ModbusServer(far, FREE)
    call = msm.worker.Worker.call

    def interrupted(self: Any, *args: Any) -> Any:
        call(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(msm.worker.Worker, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            door.run()
    wait_until(lambda: len(workers()) == 1)
    door.run()
    with ModbusClient(near, server.endpoint if who == "client" else door.endpoint) as client:
        client.refresh()
    door.kill()


def test_uvloop_is_used_where_it_is_installed(near: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def new_event_loop() -> asyncio.AbstractEventLoop:
        made.append(asyncio.new_event_loop())
        return made[-1]

    stand_in = types.ModuleType("uvloop")
    stand_in.__spec__ = importlib.machinery.ModuleSpec("uvloop", None)
    stand_in.new_event_loop = new_event_loop  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uvloop", stand_in)
    door = ModbusServer(near, FREE)
    door.run()
    door.kill()
    assert len(made) == 1
