"""The ledger: a chain in which every change is found."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import ledger


def _filled(home: Path) -> list[str]:
    for i in range(4):
        ledger.append(home, "forecast", "a" if i % 2 else "b", {"rate": i / 10})
    return (home / ledger.LEDGER_FILE).read_text().splitlines()


def test_records_follow_each_other_and_the_newest_is_found(tmp_path: Path) -> None:
    _filled(tmp_path)
    records = ledger.read(tmp_path)
    assert [r.seq for r in records] == [1, 2, 3, 4]
    assert all(later.previous == earlier.hash for earlier, later in pairwise(records))
    found = ledger.latest(tmp_path, "forecast", "b")
    assert found is not None
    assert found.body == {"rate": 0.2}
    assert ledger.latest(tmp_path, "registration", "b") is None


@pytest.mark.parametrize("line", range(4))
def test_one_changed_byte_is_found_and_its_line_named(tmp_path: Path, line: int) -> None:
    lines = _filled(tmp_path)
    lines[line] = lines[line].replace('"rate":', '"rAte":')
    (tmp_path / ledger.LEDGER_FILE).write_text("\n".join(lines) + "\n")
    with pytest.raises(ProjectError, match=rf"line {line + 1}: the record's hash does not match"):
        ledger.read(tmp_path)


def test_a_removed_or_resigned_record_breaks_the_chain(tmp_path: Path) -> None:
    lines = _filled(tmp_path)
    (tmp_path / ledger.LEDGER_FILE).write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    with pytest.raises(ProjectError, match="line 2: does not follow the line before"):
        ledger.read(tmp_path)
    forged = json.loads(lines[1])
    forged["body"] = {"rate": 0.9}
    forged["hash"] = ledger.digest({k: v for k, v in forged.items() if k != "hash"})
    (tmp_path / ledger.LEDGER_FILE).write_text(
        "\n".join([lines[0], json.dumps(forged), *lines[2:]]) + "\n"
    )
    with pytest.raises(ProjectError, match="line 3: does not follow the line before"):
        ledger.read(tmp_path)


def test_nothing_is_appended_to_a_ledger_that_does_not_hold(tmp_path: Path) -> None:
    _filled(tmp_path)
    path = tmp_path / ledger.LEDGER_FILE
    path.write_text(path.read_text().replace("0.1", "0.7"))
    before = path.read_bytes()
    with pytest.raises(ProjectError):
        ledger.append(tmp_path, "forecast", "a", {})
    assert path.read_bytes() == before
