"""The shape of the house: which way imports point, and what is promised."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import msm
from msm import errors, keywords

SOURCE = Path(msm.__file__).parent
MODULES = {
    ".".join(("msm", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}

ROOMS = ("memory", "exchange", "wire")
# `unit` is the half of the client that knows one store, `servant` that of the server; `peer` is one of its clients.
# `beside` and `diagnostics` answer what moves no memory; `calls` asks for it.
ENGINES = (
    "server", "peer", "express", "servant", "beside", "diagnostics",
    "client", "conversation", "sweeping", "calls", "unit",
)  # fmt: skip
DOORS = ("sync", "worker", "cli", "web", "testing", "pytest_plugin", "__main__")
# What engines and doors take, and how they log: these choose nothing and carry nothing.
SHARED = ("keywords", "functions", "roles", "reporting")

# Who may import whom, inside msm: doors -> engines -> rooms -> errors.
ALLOWED = {
    "errors": set(),
    **{room: {room, "errors"} for room in ROOMS},
    "keywords": {"errors", "exchange", "memory", "functions", "roles", "wire"},
    "functions": {"errors"},
    "roles": {"errors", "memory"},
    "reporting": set(),
    **{engine: {*ROOMS, *SHARED, *ENGINES, "errors"} for engine in ENGINES},
    **{door: {door, *DOORS, *ENGINES, *ROOMS, *SHARED, "errors", ""} for door in DOORS},
}

# `async for change in mem.changes()` and `await mem.wait_for()`: these are waited for in the caller's own loop.
AWAITABLE = ("msm.memory.changes", "msm.memory.store")

# Foreign packages that have one room each.
ONE_ROOM = {
    "pymodbus": {"msm.wire.pymodbus_codec"},
    "serial_asyncio": {"msm.wire.serial_port"},
    "serial": {"msm.wire.serial_port"},
    "cryptography": {"msm.wire.certificate"},
    "typer": {"msm.cli"},
    "rich": {"msm.cli"},
    "starlette": {"msm.web"},
    "uvicorn": {"msm.web"},
    "matplotlib": {"msm.cli"},
    "pyarrow": {"msm.cli"},
    "pytest": {"msm.pytest_plugin"},
}


def part(module: str) -> str:
    """The part of the house that a module belongs to: "memory", "server", ...; "" is the public face."""
    return module.removeprefix("msm").removeprefix(".").partition(".")[0]


def nodes(node: ast.AST, *, at_once: bool) -> Iterator[ast.AST]:
    """A piece of code and all within; `at_once` leaves out functions and what only type checkers see."""
    yield node
    for child in ast.iter_child_nodes(node):
        later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for_checkers = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not (at_once and (later or for_checkers)):
            yield from nodes(child, at_once=at_once)


def imports(module: str, *, at_once: bool = False) -> Iterator[str]:
    """All that a module imports, wherever in it: full names of modules.

    :param at_once: only what is imported when the module itself is.
    """
    for node in nodes(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_once=at_once):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import, write the whole name"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


@pytest.mark.parametrize("module", [name for name in MODULES if name != "msm"])
def test_imports_point_one_way(module: str) -> None:
    here = part(module)
    assert here in ALLOWED, f"{module}: what part of the house is this? Draw it in the design first"
    for imported in imports(module):
        if imported.partition(".")[0] == "msm":
            assert part(imported) in ALLOWED[here], f"{module} imports {imported}: the arrow points back"


def test_the_graph_has_no_ring_of_modules() -> None:
    graph = {name: {other for other in imports(name, at_once=True) if other in MODULES} - {name} for name in MODULES}
    seen: dict[str, bool] = {}

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"ring: {' -> '.join((*way, name))}"
        if name not in seen:
            for other in graph[name]:
                walk(other, (*way, name))
            seen[name] = True

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("package", ONE_ROOM)
def test_foreign_packages_have_one_room(package: str) -> None:
    rooms = ONE_ROOM[package]
    for module in MODULES:
        if any(imported.partition(".")[0] == package for imported in imports(module)):
            assert any(module == room or module.startswith(f"{room}.") for room in rooms), f"{module}: {package}"


def test_pymodbus_is_imported_in_exactly_one_file() -> None:
    users = [name for name in MODULES if any(i.partition(".")[0] == "pymodbus" for i in imports(name))]
    assert users == ["msm.wire.pymodbus_codec"]


def test_memory_is_standard_library_only_and_does_no_io() -> None:
    for module in MODULES:
        if part(module) in ("memory", "exchange", "errors"):
            foreign = {name.partition(".")[0] for name in imports(module)} - {"msm"}
            assert foreign <= sys.stdlib_module_names, module
            if module in AWAITABLE:
                foreign -= {"asyncio"}
            assert not foreign & {"asyncio", "socket", "selectors", "anyio"}, module
        if part(module) == "exchange":
            assert not foreign & {"time", "datetime", "threading"}, f"{module}: time is an argument there"


def test_all_is_complete() -> None:
    named = {
        alias.name: node.module
        for node in ast.walk(ast.parse(MODULES["msm"].read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(msm.__all__) == set(named)
    assert len(msm.__all__) == len(set(msm.__all__))
    assert set(msm.__all__) <= set(dir(msm))
    assert named == msm._HOMES, "what type checkers see is what is loaded"
    for name, home in named.items():
        assert home is not None
        assert getattr(msm, name) is getattr(importlib.import_module(home), name)


def test_what_msm_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'msm' has no attribute 'Master'"):
        msm.Master  # noqa: B018


def test_every_error_is_public() -> None:
    tree = {name for name in errors.__all__ if name != "device_error"}
    assert tree <= set(msm.__all__)
    drawn = inspect.getdoc(errors) or ""
    for name in tree:
        assert issubclass(getattr(msm, name), msm.MsmError)
        assert name in drawn, f"{name} is not in the drawing of the tree"


@pytest.mark.parametrize("name", msm.__all__)
def test_public_names_have_docstrings(name: str) -> None:
    thing = getattr(msm, name)
    assert inspect.getdoc(thing), name
    if inspect.isclass(thing):
        assert "__doc__" in vars(thing) and vars(thing)["__doc__"], f"{name} has only an inherited docstring"
        for member_name, member in vars(thing).items():
            if member_name.startswith("_") or not (inspect.isroutine(member) or isinstance(member, property)):
                continue
            assert inspect.getdoc(getattr(thing, member_name)), f"{name}.{member_name}"


@pytest.mark.parametrize(
    ("typed", "settings"),
    [
        (keywords.ClientKeywords, keywords.ClientSettings),
        (keywords.ServerKeywords, keywords.ServerSettings),
    ],
)
def test_keywords_and_settings_are_the_same(typed: type, settings: type) -> None:
    fields = {field.name: field.type for field in dataclasses.fields(settings)}
    assert list(typed.__annotations__) == list(fields)
    hints = {name: getattr(hint, "__forward_arg__", hint) for name, hint in typed.__annotations__.items()}
    assert hints == fields


def test_importing_msm_imports_neither_pymodbus_nor_serial() -> None:
    later = ("pymodbus", "serial", "serial_asyncio", "typer", "uvloop", "matplotlib")
    everything = "import sys, msm; [getattr(msm, name) for name in msm.__all__]"
    for code in ("import sys, msm", everything):
        look = f"{code}; print([name for name in {later} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-W", "error", "-c", look], capture_output=True, text=True, check=True)
        assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_importing_msm_loads_nothing_of_it() -> None:
    code = (
        "import sys, msm; print(sorted(name for name in sys.modules if name.startswith(('msm', 'asyncio', 'anyio'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['msm']"
