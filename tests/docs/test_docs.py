"""Every code block of the README, of CONTRIBUTING and of `docs/` is run.

Python blocks are run here, page by page; the blocks of a page share their names. Shell commands are each checked
by something that `SHELL` names. A block of another language, and a command that is not in the table, fails.

A page is run in a directory of its own. Three remarks in a page say what a block is:

- `<!-- file: press.toml -->`: the block is a file of that name there. Some Python block of the page reads it.
- `<!-- output -->`: a block of text is what the Python block before it prints.
- `<!-- written: press.toml -->`: a block is what the page's program has written to that file.
"""

from __future__ import annotations

import contextlib
import html
import importlib.util
import io
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sybil import Document, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from tests.transports.lines import Cable

import msm
from msm.memory.named import LAYOUTS
from msm.memory.variable import KINDS

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
PAGES = [page for page in PAGES if "_build" not in page.parts]

CI = ".ci/run"
SHELL_PAGE = "tests/cli/test_page.py"
EXAMPLES = "tests/test_examples.py"
WEB = "tests/cli/test_web.py"

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
    "cd examples/hmi_with_tests && ../../.venv/bin/python -m pytest": (
        EXAMPLES,
        "test_the_project_with_tests_passes_them_as_a_user_runs_them",
    ),
    "cd examples && ../.venv/bin/python": (EXAMPLES, "test_importing_the_client_gives_mem_and_client_to_play_with"),
    "python3 -m venv .venv": (CI, "readme_command test"),
    ".venv/bin/pip install -e '.[dev]'": ("pyproject.toml", 'dev = ["modbus-shared-memory[test,docs]"'),
    ".ci/run": (CI, "all checks passed"),
    ".venv/bin/python -m pytest": (CI, "readme_command test"),
    ".venv/bin/ruff check": (CI, ".venv/bin/ruff check"),
    ".venv/bin/ruff format --check": (CI, ".venv/bin/ruff format --check"),
    ".venv/bin/mypy": (CI, ".venv/bin/mypy"),
    ".venv/bin/sphinx-build -W -b html docs docs/_build/html": (CI, ".venv/bin/sphinx-build"),
    "python3 -m venv .venv && .venv/bin/pip install -e '.[cli]' && .venv/bin/msm demo": (
        "tests/cli/test_live.py",
        "test_demo_shows_values_that_move_and_can_be_set",
    ),
    ".venv/bin/pip install -e '.[cli]'": ("pyproject.toml", 'cli = ["rich'),
    **dict.fromkeys(
        (
            "msm demo",
            "msm demo --seconds 3 | cat",
            "msm serve press.toml --endpoint tcp://localhost:5020",
            "msm get tcp://localhost:5020 press.toml",
            "msm set tcp://localhost:5020 press.toml SETPOINT=900 MODE=RUN",
            "msm set tcp://localhost:5020 press.toml SETPOINT=2000",
            "msm get tcp://localhost:5020 holding:0 40003 --type float32",
            "msm set tcp://localhost:5020 holding:40=1",
            "msm watch tcp://localhost:5020 press.toml",
            "msm watch tcp://localhost:5020 press.toml SPEED PARTS --seconds 3 | cat",
            "msm doctor tcp://localhost:5020 press.toml",
            "msm doctor tcp://localhost:5020 --unit 9",
            "msm get tcp://localhost:5020 press.toml MODE --json",
        ),
        (SHELL_PAGE, "test_the_page_says_what_the_commands_say"),
    ),
    ".venv/bin/nox": ("noxfile.py", "nox.options.sessions"),
    ".venv/bin/nox -s fuzz": ("noxfile.py", "def fuzz("),
    ".venv/bin/nox -s bench": ("noxfile.py", "def bench("),
    ".venv/bin/nox -s soak": ("noxfile.py", "def soak("),
    ".venv/bin/nox -s coverage": ("noxfile.py", "def coverage("),
    **dict.fromkeys(
        (
            "msm doctor tcp://localhost:5020",
            "msm scan tcp://localhost:5020 --units 1-3 -o device.toml",
            "msm scan tcp://localhost:5020 --units 1 --guess 0-7",
            "msm watch tcp://localhost:5020 press.toml --seconds 2",
            "msm set tcp://localhost:5020 press.toml SETPOINT=45 PUMP=on",
            "msm get tcp://localhost:5020 press.toml SETPOINT PUMP",
            "msm record tcp://localhost:5020 press.toml -o press.csv --period 0.2 --seconds 1",
            "msm plot press.csv SPEED SETPOINT -o press.svg",
            "msm web tcp://localhost:5020 press.toml --host 0.0.0.0 --token correct-horse-battery",
            "msm scan tcp://localhost:5020 -o device.toml",
            "msm scan tcp://localhost:5020 --units 1 --guess 0-11",
            "msm record tcp://localhost:5020 examples/recordings/press.toml -o press.csv --period 0.2 --seconds 0.8",
            "head -n 3 press.csv",
            "msm plot examples/recordings/press.csv SPEED STATE -o press.svg",
            "msm replay examples/recordings/press.csv examples/recordings/press.toml -e tcp://localhost:0 --seconds 1",
            "msm lint press.toml",
            "msm layout press.toml",
            "msm layout press.toml --svg press.svg",
            "msm convert press.toml press.csv",
            "msm stubs press.toml",
            "msm stubs press.toml -o press.py",
        ),
        ("tests/cli/test_pages.py", "test_the_commands_of_a_page_print_what_it_says"),
    ),
    ".venv/bin/nox -s pictures": ("noxfile.py", "def pictures("),
    "msm web tcp://192.168.0.10 press.toml": (WEB, "test_it_serves_the_page_of_a_device_until_it_is_interrupted"),
    "msm web tcp://192.168.0.10 press.toml --host 0.0.0.0 --token correct-horse-battery": (
        WEB,
        "test_a_phone_reaches_it_by_the_address_and_the_token",
    ),
    "msm web tcp://192.168.0.10 press.toml --read-only": (WEB, "test_read_only_nothing_can_be_set"),
}

TABLES = {"{msm-types}", "{msm-keywords}", "{msm-layouts}", "{msm-map-keys}"}  # made from the code
# Pictures, and what Sphinx itself checks.
NOT_CODE = {"text", "{toctree}", "{eval-rst}", "{literalinclude}", "{image}"} | TABLES
FILES = {"toml", "json", "csv"}  # what pages read and write
EXAMPLE_PORT = re.compile(r"\b5020\b")
EXAMPLE_SERIAL = "/dev/ttyUSB"  # 0 and 1 are joined by a line
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>file|written|output)(?:: (?P<file>\S+))? -->\n)?"
    r" *(?P<fence>`{3,}|~{3,}) *(?P<language>\S*).*?\n(?P<body>.*?)^ *(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced code block of a page, and the remark before it that says what it is."""

    language: str
    body: str
    line: int
    mark: str
    file: str


def blocks(page: Path) -> list[Block]:
    """All fenced code blocks of a page."""
    text = page.read_text("utf-8")
    return [
        Block(
            found["language"],
            found["body"],
            text.count("\n", 0, found.start("fence")) + 1,
            found["mark"] or "",
            found["file"] or "",
        )
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
        self.port = str(free_port())
        self.serial = f"{Path.cwd()}/ttyUSB"
        super().__init__(EXAMPLE_PORT.sub(self.port, text).replace(EXAMPLE_SERIAL, self.serial), path)
        self.namespace["page"] = path

    def as_written(self, text: str) -> str:
        """What a program of the page printed or wrote, as it stands on the page."""
        lines = text.replace(self.port, "5020").replace(self.serial, EXAMPLE_SERIAL).splitlines()
        return "".join(f"{line.rstrip()}\n" for line in lines)


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
def test_python_blocks(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("examples").symlink_to(ROOT / "examples")
    for block in blocks(page):
        if block.mark == "file":
            Path(block.file).write_text(block.body, "utf-8")
    document = Sybil([PythonCodeBlockParser()], document_types={".md": Page}).parse(page)
    assert isinstance(document, Page)
    printed: dict[int, str] = {}
    line = contextlib.ExitStack()
    if EXAMPLE_SERIAL in page.read_text("utf-8"):
        line.enter_context(Cable(tmp_path, "ttyUSB0", "ttyUSB1"))
    try:
        for example in document.examples():
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                example.evaluate()
            printed[example.line] = document.as_written(out.getvalue())
    finally:
        kill_all(document.namespace)
        line.close()
    for block in blocks(page):
        where = f"{name(page)}:{block.line}"
        if block.language == "python":
            last = block.line + block.body.count("\n") + 1
            assert any(block.line <= line <= last for line in printed), f"{where} was not run"
        elif block.mark == "output":
            before = max(line for line in printed if line < block.line)
            assert printed[before] == block.body, where
        elif block.mark == "written":
            assert document.as_written(Path(block.file).read_text("utf-8")) == block.body, where


def kill_all(namespace: dict[str, Any]) -> None:
    """The doors that a page which failed half-way has left."""
    for value in namespace.values():
        if isinstance(value, (msm.ModbusServer, msm.ModbusClient)):
            value.kill()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_checked(page: Path) -> None:
    python = "".join(block.body for block in blocks(page) if block.language == "python")
    for language, body, line, mark, file in blocks(page):
        where = f"{name(page)}:{line}"
        if language in FILES:
            assert mark in ("file", "written"), f"{where}: nothing says which file this is"
            assert file in python, f"{where}: no Python block of the page names {file!r}"
        elif language == "sh":
            for command in filter(None, map(str.strip, body.splitlines())):
                assert command in SHELL, f"{where}: nothing is known to check {command!r}"
        else:
            assert language in NOT_CODE | {"python"}, f"{where}: a block of language {language!r} is not run"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_python_block_uses_a_fixed_port(page: Path) -> None:
    for language, body, line, *_ in blocks(page):
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


def test_the_picture_of_the_house_has_every_module_and_no_other() -> None:
    picture = next(block.body for block in blocks(DOCS / "explanation" / "index.md") if "src/msm/" in block.body)
    drawn = re.findall(r"\b\w+\.py\b", picture)
    there = [path.name for path in (ROOT / "src" / "msm").rglob("*.py") if path.name != "__init__.py"]
    assert sorted(drawn) == sorted([*there, "__init__.py"])


@pytest.fixture(scope="module")
def tables() -> Any:
    """The module that makes the tables of the reference."""
    spec = importlib.util.spec_from_file_location("msm_tables", DOCS / "_ext" / "msm_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_type_is_in_the_table_with_an_error(tables: Any) -> None:
    rows = tables.type_rows()
    assert [re.match(r"`(\w+)\(", row[0])[1] for row in rows] == list(KINDS)  # type: ignore[index]
    for row in rows:
        assert all(row), row
        error = row[-1].split("\n")[0].strip("`")
        assert issubclass(getattr(msm, error), (msm.ValueRangeError, msm.ValueTypeError)), row


def test_every_keyword_layout_and_key_is_in_its_table(tables: Any) -> None:
    for make in (tables.keyword_rows, tables.layout_rows, tables.key_rows):
        assert all(len(row) >= 3 and row[0] for row in make())
    assert [row[0].strip("`") for row in tables.layout_rows()] == list(LAYOUTS)
    assert all(row[2] for row in tables.keyword_rows())


def test_every_finding_of_the_linter_is_in_the_reference() -> None:
    lint = (ROOT / "src" / "msm" / "memory" / "lint.py").read_text("utf-8")
    codes = set(re.findall(r'Finding\(\s*"([\w-]+)"', lint))
    page = (DOCS / "reference" / "layout.md").read_text("utf-8")
    assert len(codes) >= 7
    assert not [code for code in codes if f"`{code}`" not in page]


def test_every_table_is_on_a_page() -> None:
    shown = [block.language for page in PAGES for block in blocks(page) if block.language in TABLES]
    assert sorted(shown) == sorted(TABLES)


def test_the_docs_build_and_show_every_type(tables: Any, tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="comes with the extra 'docs'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "reference" / "types.html").read_text("utf-8")
    for row in tables.type_rows():
        said = re.sub(r"[`\n]", "", "".join(row))
        assert re.sub(r"\s", "", said) in re.sub(r"\s", "", unmarked(page)), row[0]


def unmarked(page: str) -> str:
    """The text of an HTML page, with plain quotation marks."""
    text = re.sub(r"<[^>]*>", "", page)
    return html.unescape(text).translate(str.maketrans("\u2018\u2019\u201c\u201d", "''\"\""))
