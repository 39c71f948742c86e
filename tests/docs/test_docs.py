"""Every code block of the README, of CONTRIBUTING and of `docs/` is run.

Python blocks are run here, page by page; the blocks of a page share their names. Shell commands are each checked
by something that `SHELL` names. A block of another language, and a command that is not in the table, fails.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sybil import Document, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import msm

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
PAGES = [page for page in PAGES if "_build" not in page.parts]

CI = ".ci/run"
EXAMPLES = "tests/test_examples.py"

#: Each shell command of the pages: the file that checks it, and what in that file does.
SHELL = {
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python examples/quickstart.py": (
        CI,
        "readme_command try",
    ),
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest": (
        CI,
        "readme_command test",
    ),
    ".venv/bin/python examples/ex_server_mapper.py": (EXAMPLES, "test_mapper_pair"),
    ".venv/bin/python examples/ex_client_mapper.py": (EXAMPLES, "test_mapper_pair"),
    ".venv/bin/python examples/ex_server_mapper.py tcp://localhost:5021": (EXAMPLES, "test_mapper_pair"),
    ".venv/bin/python examples/ex_client_mapper.py tcp://localhost:5021": (EXAMPLES, "test_mapper_pair"),
    ".venv/bin/python examples/ex_server_raw_access.py": (EXAMPLES, "test_raw_access_pair"),
    ".venv/bin/python examples/ex_client_raw_access.py": (EXAMPLES, "test_raw_access_pair"),
    ".venv/bin/python examples/async_quickstart.py": (EXAMPLES, "test_async_quickstart"),
    "cd examples && ../.venv/bin/python": (EXAMPLES, "test_importing_the_client_gives_mem_and_client_to_play_with"),
    "python3 -m venv .venv": (CI, "readme_command test"),
    ".venv/bin/pip install -e '.[dev]'": ("pyproject.toml", 'dev = ["modbus-shared-memory[test,docs]"'),
    ".ci/run": (CI, "all checks passed"),
    ".venv/bin/python -m pytest": (CI, "readme_command test"),
    ".venv/bin/ruff check": (CI, ".venv/bin/ruff check"),
    ".venv/bin/ruff format --check": (CI, ".venv/bin/ruff format --check"),
    ".venv/bin/mypy": (CI, ".venv/bin/mypy"),
    ".venv/bin/sphinx-build -W -b html docs docs/_build/html": (CI, ".venv/bin/sphinx-build"),
    ".venv/bin/nox": ("noxfile.py", "nox.options.sessions"),
    ".venv/bin/nox -s coverage": ("noxfile.py", "def coverage("),
}

NOT_CODE = {"text", "{toctree}", "{eval-rst}", "{literalinclude}"}  # pictures, and what Sphinx itself checks
EXAMPLE_PORT = re.compile(r"\b5020\b")
FENCE = re.compile(r"^ *(`{3,}|~{3,}) *(?P<language>\S*).*?\n(?P<body>.*?)^ *\1 *$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced code block of a page."""

    language: str
    body: str
    line: int


def blocks(page: Path) -> list[Block]:
    """All fenced code blocks of a page."""
    text = page.read_text("utf-8")
    return [
        Block(found["language"], found["body"], text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


def name(page: Path) -> str:
    """How a page is called in the names of tests."""
    return page.relative_to(ROOT).as_posix()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Page(Document):
    """A page whose endpoints are at a free port: what is read as 5020 is run at another one."""

    def __init__(self, text: str, path: str) -> None:
        super().__init__(EXAMPLE_PORT.sub(str(free_port()), text), path)
        self.namespace["page"] = path


def workers() -> set[threading.Thread]:
    """The threads of running doors."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("Modbus")}


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """What a page starts, it ends."""
    before = workers()
    yield
    assert workers() <= before


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks(page: Path) -> None:
    document = Sybil([PythonCodeBlockParser()], document_types={".md": Page}).parse(page)
    evaluated: list[int] = []
    try:
        for example in document.examples():
            evaluated.append(example.line)
            example.evaluate()
    finally:
        kill_all(document.namespace)
    for block in blocks(page):
        if block.language == "python":
            last = block.line + block.body.count("\n") + 1
            assert any(block.line <= line <= last for line in evaluated), f"{name(page)}:{block.line} was not run"


def kill_all(namespace: dict[str, Any]) -> None:
    """The doors that a page which failed half-way has left."""
    for value in namespace.values():
        if isinstance(value, (msm.ModbusServer, msm.ModbusClient)):
            value.kill()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_checked(page: Path) -> None:
    for language, body, line in blocks(page):
        where = f"{name(page)}:{line}"
        if language == "sh":
            for command in filter(None, map(str.strip, body.splitlines())):
                assert command in SHELL, f"{where}: nothing is known to check {command!r}"
        else:
            assert language in NOT_CODE | {"python"}, f"{where}: a block of language {language!r} is not run"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_python_block_uses_a_fixed_port(page: Path) -> None:
    for language, body, line in blocks(page):
        if language == "python":
            code = "\n".join(written for written in body.splitlines() if "Error: " not in written)
            ports = set(re.findall(r"://[\w.\-]+:(\d+)", code)) - {"0", "5020"}
            assert not ports, f"{name(page)}:{line} uses port {ports}"


@pytest.mark.parametrize("command", SHELL)
def test_what_checks_a_shell_command_exists(command: str) -> None:
    file, where = SHELL[command]
    assert where in (ROOT / file).read_text("utf-8")


def test_every_shell_command_of_the_table_is_on_a_page() -> None:
    written = "\n".join(page.read_text("utf-8") for page in PAGES).splitlines()
    assert set(SHELL) <= {line.strip() for line in written}


def test_the_readme_has_the_two_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for marker in re.findall(r"readme_command (\w+)\)", (ROOT / CI).read_text("utf-8")):
        assert f"\n<!-- {marker} -->\n```sh\n" in readme


def test_every_public_name_is_in_the_reference() -> None:
    reference = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    missing = [public for public in msm.__all__ if not re.search(rf":: msm\.{public}\b", reference)]
    assert not missing


def test_every_example_is_checked() -> None:
    checked = (ROOT / EXAMPLES).read_text("utf-8")
    missing = [path.name for path in (ROOT / "examples").glob("*.py") if f'"{path.name}"' not in checked]
    assert not missing
