"""The counterparts are installed when they are first needed. One that cannot be had fails its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.counterparts import programs
from tests.support import set_up

SETUP = programs.HERE / "setup.sh"
SETUP_TIME = 300.0  # seconds

_trouble = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    # Not in a fixture: downloading may take longer than a test may.
    mine = any(item.path.is_relative_to(programs.HERE) for item in session.items)
    if mine and not session.config.option.collectonly:
        session.config.stash[_trouble] = set_up(SETUP, SETUP_TIME)


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled programs are; all counterparts are there."""
    trouble = request.config.stash.get(_trouble, "")
    if trouble:
        command = SETUP.relative_to(programs.ROOT)
        pytest.fail(f"The counterparts of these tests could not be installed. Try: {command}\n{trouble}", pytrace=False)
    target = tmp_path_factory.mktemp("counterparts")
    programs.build(target)
    return target


@pytest.fixture(scope="module", params=programs.LIBRARIES, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> programs.Library:
    found: programs.Library = request.param
    return found
