"""The pauses between attempts."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from msm import LinkState, backoff


def test_pauses_grow_and_stay_below_the_most() -> None:
    pauses = list(islice(backoff(jitter=random.Random(1)), 12))
    for pause, top in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, *[3.0] * 7], strict=True):
        assert top / 2 <= pause <= top
    assert len(set(pauses)) == 12, "with jitter"


@given(st.floats(0.01, 1), st.floats(1, 60), st.floats(1, 4), st.integers(0, 99))
def test_any_backoff(first: float, most: float, factor: float, seed: int) -> None:
    for pause in islice(backoff(first, most, factor, random.Random(seed)), 50):
        assert 0 < pause <= most


def test_two_clients_do_not_knock_together() -> None:
    assert list(islice(backoff(), 5)) != list(islice(backoff(), 5))


def test_states() -> None:
    assert [state.name for state in LinkState] == ["CONNECTING", "ONLINE", "OFFLINE", "CLOSED"]
