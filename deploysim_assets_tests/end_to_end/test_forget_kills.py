"""A withdrawal that is killed at any moment is finished by the next, and nothing is left."""

from pathlib import Path

import pytest

from deploysim_assets.benchmarks.forget_kills import (
    Victim,
    found_in,
    lay_out,
    measured,
    modes,
    traced_lines,
    trial,
    withdraw,
)
from deploysim_assets.benchmarks.tampering import audited, copy_of
from deploysim_assets.storage import ledger


@pytest.fixture(scope="module")
def laid_out(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Victim]:
    home = copy_of(finished, tmp_path_factory.mktemp("laid") / "home")
    return home, lay_out(home)


@pytest.fixture(scope="module")
def pace(
    laid_out: tuple[Path, Victim], tmp_path_factory: pytest.TempPathFactory
) -> tuple[float, int]:
    home, victim = laid_out
    assert len(found_in(home, victim)) > 25  # or the search would show nothing
    whole = copy_of(home, tmp_path_factory.mktemp("whole") / "home")
    before = modes(whole)
    found = measured(whole, victim.user)
    assert found_in(whole, victim) == []
    assert traced_lines(whole) == []
    assert {name: modes(whole).get(name, mode) for name, mode in before.items()} == before
    audit = audited(whole)
    assert audit.holds, audit.faults
    assert any("log lines withdrawn on" in note for note in audit.notes)

    records = len(ledger.read(whole))
    withdraw(whole, victim.user)  # once more: there is nothing to take out
    again = ledger.read(whole)[records:]
    assert [record.body["files"] for record in again] == [{}]
    assert audited(whole).holds
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_withdrawal_is_finished_by_the_next(
    laid_out: tuple[Path, Victim], pace: tuple[float, int], tmp_path: Path, seed: int
) -> None:
    result = trial(*laid_out, tmp_path, seed, *pace)
    assert result.passed, result
