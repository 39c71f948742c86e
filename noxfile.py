"""The checks, each in an environment of its own: `nox`, or `nox -s tests-3.12`."""

from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False  # every CPython that is there; the others are skipped
nox.options.sessions = ["tests", "lint", "types", "docs"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def uvloop(session: nox.Session) -> None:
    """Run the tests of what the doors do over uvloop, which they use where it is installed.

    Its clock counts milliseconds: who was idle longest is not told apart within one.
    """
    session.install("-e", ".[test,fast]")
    session.run(
        "pytest", "tests/test_sync.py", "tests/test_server.py", "tests/test_client.py", "tests/test_limits.py",
        "tests/transports", "tests/testing", "tests/test_gateway.py",
        "--deselect", "tests/test_limits.py::test_from_one_address_the_one_idle_longest_gives_way",
        *session.posargs,
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Look for what ruff finds, and for what is not formatted."""
    session.install("ruff>=0.9")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of sources, tests and examples."""
    session.install("-e", ".[test]")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def coverage(session: nox.Session) -> None:
    """Tell which lines and branches the tests do not reach."""
    session.install("-e", ".[test]")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def nightly(session: nox.Session) -> None:
    """Search for what the exchange gets wrong: at least 10,000 examples of each property, new ones each time."""
    session.install("-e", ".[test]")
    session.run(
        "pytest", "--timeout=0", "tests/exchange", *session.posargs,
        env={"HYPOTHESIS_PROFILE": "nightly"},
    )  # fmt: skip


@nox.session(python="3.11")
def fuzz(session: nox.Session) -> None:
    """Feed the targets with anything at all, guided by coverage: `nox -s fuzz -- server -max_total_time=3600`."""
    session.install("-e", ".[test]", "atheris>=2.3")
    targets = session.posargs[:1] or [
        "mbap",
        "rtu_server",
        "rtu_client",
        "ascii",
        "server",
        "reply",
        "endpoint",
        "role",
    ]
    options = session.posargs[1:] or ["-max_total_time=60"]
    for target in targets:
        session.run("python", "-m", "tests.fuzz.run", target, "-max_len=2048", "-reload=0", *options)


@nox.session
def soak(session: nox.Session) -> None:
    """Measure the reliability table in its long form, about ten minutes, and write it into the docs."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.reliability", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed beside the peers, about 35 minutes; `nox -s bench -- --quick` looks whether it works.

    Writes the table, the plots and all figures into the page on performance.
    """
    session.install("-e", ".[bench]")
    session.run("tests/counterparts/setup.sh", "libmodbus", external=True)
    session.run("python", "-m", "benchmarks.run", *(session.posargs or ["--page"]))


@nox.session
def pictures(session: nox.Session) -> None:
    """Take the pictures that the documentation shows, and write them into docs/_static."""
    session.install("-e", ".[test]")
    for script in sorted(Path("docs/_pictures").glob("*.py")):
        session.run("python", str(script), env={"PYTHONPATH": "."})
