"""What every test has to keep to: it leaves no thread, no task and no socket behind."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import inspect
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings

from tests.certificates import Certificates, make_certificates
from tests.support import Deadline

# Deterministic and fast: what fails here fails for everybody, in the same way.
settings.register_profile("msm", derandomize=True, deadline=None, max_examples=100, database=None)
settings.register_profile("search", settings.get_profile("msm"), derandomize=False, max_examples=5000)
settings.register_profile("nightly", settings.get_profile("search"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "msm"))

LEFT_BEHIND = 3.0  # seconds that threads and sockets have to go by themselves


def _threads() -> set[threading.Thread]:
    # asyncio's look-up threads belong to the event loop of the test itself, and end with it.
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def _descriptors() -> Counter[str]:
    """The open sockets, pipes and event polls of this process, each with its number."""
    found: Counter[str] = Counter()
    if not os.path.isdir("/proc/self/fd"):
        return found
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the one that listed the directory
        if target.startswith(("socket:", "pipe:", "anon_inode:")):
            found[target] += 1
    return found


@pytest.fixture(scope="session", autouse=True)
def what_uvloop_keeps() -> None:
    """The first loop of uvloop opens a pipe that stays, for the whole process: no test is to be blamed for it."""
    if importlib.util.find_spec("uvloop") is not None:
        importlib.import_module("uvloop").new_event_loop().close()


@pytest.fixture(autouse=True)
def leak_guard(what_uvloop_keeps: None) -> Iterator[None]:
    """Fails a test that leaves a thread or a socket behind."""
    threads, descriptors = _threads(), _descriptors()
    yield
    deadline = Deadline(LEFT_BEHIND)
    while (_threads() - threads or _descriptors() - descriptors) and deadline.wait_a_little():
        pass
    left = [thread.name for thread in _threads() - threads]
    assert not left, f"threads left behind: {left}"
    assert not _descriptors() - descriptors, f"sockets left behind: {_descriptors() - descriptors}"


@pytest.fixture
async def task_guard(leak_guard: None) -> AsyncIterator[None]:
    """Fails an asynchronous test that leaves a task behind; every one of them has it."""
    before = asyncio.all_tasks()
    yield
    mine = {asyncio.current_task()}
    deadline = Deadline(LEFT_BEHIND)
    while (left := asyncio.all_tasks() - before - mine) and not deadline.over:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not left, f"tasks left behind: {[task.get_name() for task in left]}"


def pytest_collection_finish() -> None:
    """What is there now stays: looking through it again and again would be a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "task_guard")


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    return make_certificates()
