"""Evidence that MSM holds under faults: its long form writes docs/explanation/reliability.md."""

from tests.reliability.rows import CHECKS, Check


def all_checks() -> dict[str, Check]:
    """Every row, by name."""
    from tests.reliability import history, lines, processes, soak, values

    assert all((lines, processes, values, history, soak))
    return CHECKS
