"""Withdrawal: a user leaves every table, journal and log file, and a later import of the same
rows drops them again."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploysim_assets.cli.demo import ship, synthetic_endpoint, write_project
from deploysim_assets.deidentify.keys import Keys
from deploysim_assets.storage import ledger
from deploysim_assets_tests.support import KEYS, deploysim, lake, rows

HASHES = Keys(*(bytes.fromhex(value) for value in KEYS.values()))


def _land(home: Path) -> None:
    ship(home, "aurora-1", 80, 1, datetime.now(UTC) - timedelta(days=1), timedelta(seconds=1))


def _lines(home: Path) -> list[dict[str, str]]:
    return [
        json.loads(line)
        for line in (home / "logs" / "aurora-1" / "traffic.jsonl").read_text().splitlines()
    ]


def _answers(home: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in (home / "journal").rglob("*.jsonl"))


def test_a_user_and_a_conversation_are_forgotten_everywhere(tmp_path: Path) -> None:
    home = tmp_path
    with synthetic_endpoint(1) as base_url:
        write_project(home, base_url, 500)
        _land(home)
        deploysim(home, "forecast", "aurora-2")
        user = Counter(
            line["user_id"] for line in _lines(home) if line["training_allowed"]
        ).most_common(1)[0][0]
        other = next(
            line["conversation_id"]
            for line in _lines(home)
            if line["training_allowed"] and line["user_id"] != user
        )
        conversations = {
            line["conversation_id"] for line in _lines(home) if line["user_id"] == user
        } | {other}
        keys = {HASHES.identify("conversation", c) for c in conversations}
        prefixes = {
            p["prefix_id"]
            for p in rows(home, "deidentified_prefixes", "aurora-1")
            if p["conversation_key"] in keys
        }
        kept, answers = len(_lines(home)) - len(conversations), _answers(home)
        assert len(prefixes) > 3

        (home / "requests.txt").write_text(f"user {user}\n\nconversation {other}\n")
        done = deploysim(home, "forget", "--file", str(home / "requests.txt"))
        (home / "requests.txt").unlink()
        assert "Nothing of them is left in the project." in done.stdout

        for asset, model in (
            ("deidentified_prefixes", "aurora-1"),
            ("candidate_completions", "aurora-2"),
            ("grades", "aurora-2"),
            ("production_grades", "aurora-1"),
        ):
            assert not prefixes & {row["prefix_id"] for row in rows(home, asset, model)}, asset
        assert not conversations & {
            row["conversation_id"] for row in rows(home, "raw_logs", "aurora-1")
        }
        assert len(_lines(home)) == kept
        # a completion, its grade and the production grade of each prefix; a judge's answer may
        # serve two equal replies
        assert answers - _answers(home) >= 2 * len(prefixes)
        for path in home.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not any(
                    f'"{name}"'.encode() in content for name in (user, *conversations)
                ), path
        record = ledger.read(home)[-1]
        assert record.kind == "forget"
        assert record.body["rows"]["deidentified_prefixes[aurora-1]"] == len(prefixes)
        assert set(record.body["conversations"]) == keys
        assert user not in json.dumps(record.body)

        _land(home)  # the same logs come again
        deploysim(home, "backfill", "aurora-1")
        stats = lake(home).stats("raw_logs", "aurora-1")
        assert stats["rejected_by_reason"] == {"withdrawn by the user": len(conversations)}
        assert not conversations & {
            row["conversation_id"] for row in rows(home, "raw_logs", "aurora-1")
        }
        assert not keys & {
            row["conversation_key"] for row in rows(home, "deidentified_prefixes", "aurora-1")
        }


def test_nobody_and_nonsense_are_refused(tmp_path: Path) -> None:
    write_project(tmp_path, "http://127.0.0.1:9/v1", 10)
    assert "nobody to forget" in deploysim(tmp_path, "forget", check=False).stderr
    (tmp_path / "r.txt").write_text("somebody 5\n")
    assert (
        "line 1: neither `user ID` nor `conversation ID`"
        in deploysim(tmp_path, "forget", "--file", "r.txt", check=False).stderr
    )
