"""The ledger: a chain of create-only records in which every change is found."""

import json
import multiprocessing
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from in_toto_attestation.v1.statement import Statement

from deploysim_assets.project import ProjectError
from deploysim_assets.storage import ledger
from deploysim_assets.storage.statements import canonical, digest


def _filled(home: Path) -> list[Path]:
    for i in range(4):
        ledger.append(home, "forecast", "a" if i % 2 else "b", {"rate": i / 10})
    return sorted((home / ledger.LEDGER).iterdir())


def _payload(path: Path) -> bytes:
    import base64

    return base64.b64decode(json.loads(path.read_bytes())["payload"])


def test_records_follow_each_other_and_the_newest_is_found(tmp_path: Path) -> None:
    _filled(tmp_path)
    records = ledger.read(tmp_path)
    assert [r.seq for r in records] == [1, 2, 3, 4]
    assert all(later.previous == earlier.hash for earlier, later in pairwise(records))
    found = ledger.latest(tmp_path, "forecast", "b")
    assert found is not None
    assert found.body == {"rate": 0.2}
    assert ledger.latest(tmp_path, "registration", "b") is None
    assert ledger.head(tmp_path) == (4, records[-1].hash)


def test_a_record_is_an_in_toto_statement_that_other_tools_accept(tmp_path: Path) -> None:
    seals = {"lake/rate_estimates/model_version=b/run=1": "ab" * 32}
    record = ledger.append(tmp_path, "forecast", "b", {"rate": 0.1}, seals)
    stated = Statement.copy_from_pb(_parsed(_payload(record.path)))
    stated.validate()
    assert record.seals == seals


def _parsed(payload: bytes):
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2

    return json_format.Parse(payload, statement_pb2.Statement())


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9, 0.99])
def test_one_changed_byte_anywhere_in_any_record_is_found(tmp_path: Path, at: float) -> None:
    for path in _filled(tmp_path):
        content = bytearray(path.read_bytes())
        whole = bytes(content)
        content[int(at * len(content))] ^= 1
        path.write_bytes(content)
        with pytest.raises(ProjectError, match=path.name):
            ledger.read(tmp_path)
        path.write_bytes(whole)
        assert len(ledger.read(tmp_path)) == 4


def test_a_removed_a_moved_and_a_forged_record_break_the_chain(tmp_path: Path) -> None:
    paths = _filled(tmp_path)
    second = paths[1].read_bytes()
    paths[1].unlink()
    with pytest.raises(ProjectError, match="record 3: does not follow the record before"):
        ledger.read(tmp_path)
    paths[1].write_bytes(paths[0].read_bytes())
    with pytest.raises(ProjectError, match="00000002.json: holds record 1; it was renamed"):
        ledger.read(tmp_path)
    forged = json.loads(_payload(paths[2]))
    forged["predicate"] |= {"seq": 2, "body": {"rate": 0.9}, "previous": "0" * 64}
    envelope = ledger.envelope(canonical(forged))
    paths[1].write_bytes(canonical(envelope | {"sha256": digest(envelope)}))
    _, faults = ledger.examine(tmp_path)
    assert ["record 2" in str(f) or "record 3" in str(f) for f in faults] == [True, True]
    paths[1].write_bytes(second)
    assert len(ledger.read(tmp_path)) == 4


def test_nothing_is_appended_to_a_ledger_that_does_not_hold(tmp_path: Path) -> None:
    paths = _filled(tmp_path)
    paths[1].unlink()
    with pytest.raises(ProjectError):
        ledger.append(tmp_path, "forecast", "a", {})
    assert len(list((tmp_path / ledger.LEDGER).iterdir())) == 3


def _append(home: Path, name: str) -> None:
    for i in range(10):
        ledger.append(home, "forecast", name, {"i": i})


def test_writers_at_once_cannot_fork_the_chain(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append, args=(tmp_path, f"w{i}")) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records = ledger.read(tmp_path)
    assert [r.seq for r in records] == list(range(1, 31))
    for i in range(3):
        assert [r.body["i"] for r in records if r.model_version == f"w{i}"] == list(range(10))
    assert not [p for p in (tmp_path / ledger.LEDGER).iterdir() if p.name.startswith(".")]


def _key(folder: Path, name: str) -> tuple[Path, str]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["pkey", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return private, public.read_text()


def test_a_signed_ledger_stays_signed_and_hands_over_by_the_old_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old, old_pem), (new, new_pem) = _key(tmp_path, "old"), _key(tmp_path, "new")
    monkeypatch.setenv("DEPLOYSIM_SIGNING_KEY", str(old))
    ledger.append(tmp_path, "forecast", "a", {})
    records = ledger.read(tmp_path)
    assert [r.kind for r in records] == [ledger.KEY, "forecast"]
    assert all(ledger.is_signed(r, old_pem) for r in records)
    assert not ledger.is_signed(records[1], new_pem)

    monkeypatch.delenv("DEPLOYSIM_SIGNING_KEY")
    with pytest.raises(ProjectError, match="signed, but DEPLOYSIM_SIGNING_KEY is unset"):
        ledger.append(tmp_path, "forecast", "a", {})
    monkeypatch.setenv("DEPLOYSIM_SIGNING_KEY", str(new))
    with pytest.raises(ProjectError, match="is another; name the key that signed"):
        ledger.append(tmp_path, "forecast", "a", {})
    monkeypatch.setenv("DEPLOYSIM_SIGNING_KEY", str(old))
    ledger.append(tmp_path, ledger.KEY, "", {"public_key": new_pem})
    monkeypatch.setenv("DEPLOYSIM_SIGNING_KEY", str(new))
    last = ledger.append(tmp_path, "forecast", "a", {})
    assert ledger.is_signed(last, new_pem)


def test_a_ledger_of_an_earlier_deploysim_waits_for_the_upgrade(tmp_path: Path) -> None:
    fields = {
        "seq": 1, "at": "2026-11-01T00:00:00+00:00", "kind": "forecast", "model_version": "a",
        "body": {"rate": 0.5}, "previous": "0" * 64,
    }  # fmt: skip
    old = tmp_path / ledger.LEDGER_FILE
    old.write_bytes(canonical(fields | {"hash": digest(fields)}) + b"\n")
    with pytest.raises(ProjectError, match="run `deploysim upgrade` first"):
        ledger.append(tmp_path, "forecast", "a", {})
    ledger.append(tmp_path, ledger.UPGRADE, "", {"current": {}})
    ledger.append(tmp_path, "forecast", "a", {})
    records = ledger.read(tmp_path)
    assert [r.seq for r in records] == [1, 2, 3]
    assert records[1].previous == records[0].hash
    old.write_bytes(old.read_bytes().replace(b"0.5", b"0.6"))
    with pytest.raises(ProjectError, match="line 1: the record's hash does not match"):
        ledger.read(tmp_path)
