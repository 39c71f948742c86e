"""The browser is installed when it is first needed. Where it cannot be had its tests fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import set_up
from tests.web.browser import HERE, SETUP, Browser

SETUP_TIME = 600.0  # seconds

_trouble = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    # Not in a fixture: downloading may take longer than a test may.
    mine = any(
        "browser" in item.fixturenames
        for item in session.items
        if isinstance(item, pytest.Function) and item.path.is_relative_to(HERE)
    )
    if mine and not session.config.option.collectonly:
        session.config.stash[_trouble] = set_up(SETUP, SETUP_TIME)


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests; each opens a fresh page."""
    trouble = request.config.stash.get(_trouble, "")
    if trouble:
        command = SETUP.relative_to(HERE.parent.parent)
        pytest.fail(f"The browser of these tests could not be installed. Try: {command}\n{trouble}", pytrace=False)
    with Browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found
