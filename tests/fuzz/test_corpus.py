"""What was found by fuzzing, and what other stacks are known to fall over: every target holds its rules on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.test_fuzz import BAD

CORPUS = Path(__file__).parent / "corpus"


def entries(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target: str) -> None:
    kept = entries(target)
    assert len(kept) >= 5
    for entry in kept:
        try:
            TARGETS[target](entry.read_bytes())
        except BaseException as error:
            raise AssertionError(f"{target}: {entry.name}") from error


@pytest.mark.parametrize("target", TARGETS)
def test_what_other_stacks_fall_over(target: str) -> None:
    for data in BAD.values():
        TARGETS[target](data)


def test_what_other_stacks_fall_over_is_in_the_corpus() -> None:
    kept = {entry.read_bytes() for entry in entries("server")}
    missing = [name for name, data in BAD.items() if data not in kept]
    assert not missing
