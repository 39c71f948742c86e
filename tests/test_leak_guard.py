"""The guard of all tests, guarded: what is left behind is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LEAKS = """
import asyncio, socket, threading
import tests.conftest

tests.conftest.LEFT_BEHIND = 0.05
kept = []

def test_thread():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, daemon=True).start()

def test_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

async def test_clean():
    with socket.create_server(("127.0.0.1", 0)):
        await asyncio.create_task(asyncio.sleep(0))
    thread = threading.Thread(target=str)
    thread.start()
    thread.join()
"""


def test_what_is_left_behind_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "test_leaks.py"
    file.write_text(LEAKS, encoding="utf-8")
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(root / "pyproject.toml"), "-q", str(file)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "4 passed, 3 errors" in done.stdout, done.stdout + done.stderr
    for told in ("threads left behind", "sockets left behind", "tasks left behind: ['forgotten']"):
        assert told in done.stdout
