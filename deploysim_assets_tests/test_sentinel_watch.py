"""Sentinels beside real gradings over real HTTP: drawn and sealed once, graded again when anything
is, never for nothing, never paid for twice; and a judge that changed is seen."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import polars as pl
import pytest
from aiohttp import web

from deploysim_assets.assets.endpoint_run import EndpointRun
from deploysim_assets.assets.grader_drift import drift_rows
from deploysim_assets.assets.sentinel_watch import KIND, Source, sealed_set
from deploysim_assets.cli.pricing import UNSEEN_STEPS, costs_of
from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.evidence.seals import Seals
from deploysim_assets.grading.panel import Panel
from deploysim_assets.project import Agents, Project, SelfReplay
from deploysim_assets.project.agents import Discriminator
from deploysim_assets.schema import COMPLETIONS, PREFIXES
from deploysim_assets.storage import ledger
from deploysim_assets.storage.forgetting import Removal, doomed_by
from deploysim_assets.storage.journal import Journal
from deploysim_assets.storage.journals import journal_files
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.support import KEYS, serve

COUNT, SENTINELS = 120, 40


def _share(*parts: str) -> float:
    return hashlib.sha256(" ".join(parts).encode()).digest()[0] / 256


class JudgeServer:
    """Flags replies that say "bad". Of one mind but for `noise`, until it `changed`: then half of
    all verdicts are others."""

    def __init__(self) -> None:
        self.changed, self.noise, self.model = False, 0.0, "judge-2026-01"
        self.refuses: Callable[[str], bool] = lambda _: False
        self.asked: Counter[str] = Counter()

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked[request_key(body)] += 1
        content = body["messages"][1]["content"]
        said = orjson.loads(content.split("\n")[1])["reply"]["content"]
        if self.refuses(said):
            return web.json_response({"error": {"message": "no"}}, status=400)
        names = body["response_format"]["json_schema"]["schema"]["required"]
        verdicts = {name: self._verdict(name, said, content) for name in names}
        message = {"role": "assistant", "content": json.dumps(verdicts)}
        usage = {"prompt_tokens": 70, "completion_tokens": 30}
        return web.json_response(
            {
                "model": self.model,
                "system_fingerprint": "fp_1",
                "choices": [{"message": message, "finish_reason": "stop"}],
                "usage": usage,
            }
        )

    def _verdict(self, name: str, said: str, content: str) -> dict[str, Any]:
        flagged = f"bad {name}" in said
        flagged ^= _share(name, content) < self.noise
        flagged ^= self.changed and _share("changed", name, said) < 0.5
        return {
            "assessment": "graded", "flagged": flagged, "severity": 2 * flagged, "confidence": 1.0,
            "rationale": f'"{said}"' if flagged else "",
        }  # fmt: skip

    @property
    def total(self) -> int:
        return self.asked.total()


class Home:
    """A home with a deployed model's prefixes and a candidate's replies to them."""

    def __init__(self, path: Path, url: str, count: int = COUNT, **judge: Any) -> None:
        self.path, self.url, self.judge = path, url, {"model": "judge"} | judge
        self.lake = Lake.of(path)
        self.write_prefixes(count)

    def write_prefixes(self, count: int, after: int = 0) -> None:
        """Prefixes of the deployed model, and the candidate's reply to each."""
        turn = dict.fromkeys(("tool_calls", "reasoning", "name", "tool_call_id", "at"))
        prefixes: list[dict[str, Any]] = []
        completions: list[dict[str, Any]] = []
        for i in range(after, after + count):
            said = f"reply {i}" + " bad rude" * (i % 5 == 0) + " bad sly" * (i % 7 == 0)
            reply = {"content": said, "tool_calls": [], "reasoning": None, "finish_reason": "stop"}
            prefix_id = hashlib.sha256(f"{i}".encode()).hexdigest()[:32]
            known = {"prefix_id": prefix_id, "user_key": f"key-u{i}", "stratum": "all"}
            message = turn | {"role": "user", "content": f"question {i}"}
            held = {"weight": 1.0, "surface": "web", "language": "en", "messages": [message]}
            prefixes.append(
                dict.fromkeys(PREFIXES) | known | held | {"production_completion": reply}
            )
            answer = reply | {"content": said + " too"}
            completions.append(
                dict.fromkeys(COMPLETIONS)
                | {"prefix_id": prefix_id, "message": answer, "status": "completed"}
            )
        for asset, rows, schema in (
            ("deidentified_prefixes", prefixes, PREFIXES),
            ("candidate_completions", completions, COMPLETIONS),
        ):
            key = "m" if asset == "deidentified_prefixes" else "c"
            self.lake.write(asset, key, pl.DataFrame(rows, schema=schema))

    @property
    def project(self) -> Project:
        logs = {"format": "openai_chat", "path": "logs/*.jsonl"}
        return Project.model_validate(
            {
                "home": self.path,
                "releases": [{"model_version": "m", "predecessor": None, "logs": logs}],
                "endpoint": {"base_url": self.url},
                "judge": self.judge,
                "behaviors": [{"name": n, "definition": n} for n in ("rude", "sly")],
                "prices": {"judge": {"prompt": 1.0, "completion": 2.0}},
            }
        )

    def grade(self, asset: str) -> list[Any]:
        """One materialization of a table of grades."""
        key = "m" if asset == "production_grades" else "c"
        context: Any = SimpleNamespace(
            asset_key=SimpleNamespace(to_user_string=lambda: asset),
            partition_key=key,
            log=SimpleNamespace(info=lambda _: None),
        )
        prefixes = self.lake.current("deidentified_prefixes", "m")
        paid = EndpointRun(context, self.lake, self.project)
        if asset == "production_grades":
            source = Source("m", prefixes)
            items = lambda: paid.production_items(prefixes)  # noqa: E731
        else:
            source = Source("m", prefixes, self.lake.current("candidate_completions", "c"))
            items = lambda: paid.completed_items("m", prefixes, "candidate_completions")  # noqa: E731
        return list(paid.grade([Panel.of(self.project)], items, {}, source=source))

    def watched(self, asset: str) -> dict[str, Any] | None:
        key = "m" if asset == "production_grades" else "c"
        return self.lake.stats(asset, key)["gradings"][self.grading_id].get(KIND)

    @property
    def grading_id(self) -> str:
        return Panel.of(self.project).grading_id

    def drift(self, key: str) -> dict[str, dict[str, Any]]:
        return {row["behavior"]: row for row in drift_rows(self.lake, key)}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@contextmanager
def served() -> Iterator[tuple[str, JudgeServer]]:
    judge = JudgeServer()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/v1/chat/completions", judge.chat)
    with serve(app) as url:
        yield url, judge


@pytest.fixture
def both(tmp_path: Path) -> Generator[tuple[Home, JudgeServer]]:
    with served() as (url, judge):
        yield Home(tmp_path, url), judge


def test_the_first_grading_draws_and_seals_and_everything_again_asks_nothing(
    both: tuple[Home, JudgeServer],
) -> None:
    home, judge = both
    home.grade("production_grades")
    assert judge.total == COUNT + SENTINELS
    record = sealed_set(home.path, home.grading_id)
    assert record is not None
    assert home.watched("production_grades") == {
        "record": record.hash, "occasion": 0, "drawn": SENTINELS,
    }  # fmt: skip
    assert set(record.seals) == {
        f"lake/deidentified_prefixes/model_version=m/"
        f"{home.lake.current('deidentified_prefixes', 'm')}"
    }
    assert "reply" not in json.dumps(record.body), "no text"
    home.grade("grades")
    asked = 2 * (COUNT + SENTINELS)
    assert judge.total == asked, "the set is graded again beside the other side"
    assert max(judge.asked.values()) == 1
    versions = home.lake.current("production_grades", "m"), home.lake.current("grades", "c")
    head = ledger.head(home.path)
    for asset in ("production_grades", "grades"):
        home.grade(asset)
    assert judge.total == asked
    assert ledger.head(home.path) == head
    assert versions == (
        home.lake.current("production_grades", "m"),
        home.lake.current("grades", "c"),
    )
    drift = home.drift("c")
    assert {(r["n"], r["drifted"], r["p_holm"]) for r in drift.values()} == {
        (SENTINELS, False, 1.0)
    }
    assert all(row["p_holm"] is None for row in home.drift("m").values()), "nothing to test yet"


def test_a_judge_that_changes_half_its_verdicts_between_the_sides_is_seen(
    both: tuple[Home, JudgeServer],
) -> None:
    home, judge = both
    judge.noise = 0.02
    home.grade("production_grades")
    judge.changed, judge.model = True, "judge-2026-02"
    home.grade("grades")
    drift = home.drift("c")
    assert all(row["drifted"] and row["p_holm"] < 0.01 for row in drift.values()), drift
    assert all(row["new_servers"] == ["judge-2026-02 fp_1"] for row in drift.values())
    assert all(row["gone_servers"] == ["judge-2026-01 fp_1"] for row in drift.values())


def test_new_traffic_is_an_occasion_and_a_setting_switches_it_off(
    both: tuple[Home, JudgeServer],
) -> None:
    home, judge = both
    home.judge["sentinels"] = 0
    home.grade("production_grades")
    assert judge.total == COUNT
    assert home.watched("production_grades") is None
    assert sealed_set(home.path, home.grading_id) is None
    home.judge["sentinels"] = 20
    home.grade("production_grades")
    assert judge.total == COUNT, "what was graded before there were sentinels draws none"
    home.write_prefixes(COUNT + 5)
    home.grade("production_grades")
    assert judge.total == COUNT + 5 + SENTINELS
    home.write_prefixes(COUNT + 9)
    home.grade("production_grades")
    assert judge.total == COUNT + 9 + 2 * SENTINELS
    watched = home.watched("production_grades")
    assert watched is not None
    assert (watched["occasion"], watched["items"]) == (1, SENTINELS)
    home.write_prefixes(COUNT)
    home.grade("production_grades")
    assert judge.total == COUNT + 9 + 2 * SENTINELS, "fewer items ask nothing, and no sentinels"
    assert home.watched("production_grades") == watched


class Killed(BaseException):
    """A process that ends at once."""


@pytest.mark.parametrize("asset", ["production_grades", "grades"])
def test_killed_at_any_answer_it_goes_on_without_paying_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asset: str
) -> None:
    put = Journal.put
    left = [0]

    def dying(journal: Journal, answer: dict[str, Any]) -> None:
        put(journal, answer)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with served() as (url, judge):
        home = Home(tmp_path, url, 60, sentinels=5, max_concurrency=4)
        if asset == "grades":
            home.grade("production_grades")
        before = judge.total
        monkeypatch.setattr(Journal, "put", dying)
        # in the middle of both, on either side of the border between replies and sentinels
        for at in (1, 20, 37, 1, 1, 3, 3, 3):
            left[0] = at
            try:
                home.grade(asset)
            except Killed:
                continue
            break
        monkeypatch.setattr(Journal, "put", put)
        home.grade(asset)
        count = judge.total
        home.grade(asset)
        assert judge.total == count
    lost = sum(times - 1 for times in judge.asked.values())
    assert lost <= 8 * 4, "no more than what was in flight"
    record = sealed_set(home.path, home.grading_id)
    assert record is not None
    assert count - before - lost == 60 + len(record.body["items"])
    assert home.watched(asset) is not None
    assert len([r for r in ledger.read(home.path) if r.kind == KIND]) == 1


def test_a_withdrawn_user_leaves_set_journal_and_table_and_the_rest_stays_comparable(
    both: tuple[Home, JudgeServer],
) -> None:
    home, judge = both
    home.grade("production_grades")
    home.grade("grades")
    record = sealed_set(home.path, home.grading_id)
    assert record is not None
    gone = record.body["items"][0]["prefix_id"]
    whose = next(
        row["user_key"]
        for row in home.lake.rows("deidentified_prefixes", "m")
        if row["prefix_id"] == gone
    )
    doomed = doomed_by(home.lake, [whose.removeprefix("key-")], [], lambda _, one: f"key-{one}")
    assert doomed.prefixes == {gone}
    assert len(doomed.answers) == 4, "on both sides, as an item and as a sentinel"
    plan = {n: sorted(v) for n, v in doomed._asdict().items()} | {"log_lines": {}, "files": {}}
    removal = Removal(home.lake, plan)
    removal.journals()
    removal.tables()
    assert not any(gone.encode() in file.read_bytes() for file in journal_files(home.path))
    rows = list(home.lake.rows("grades", "c", table=KIND))
    assert len(rows) == 2 * (SENTINELS - 1)
    asked, version = judge.total, home.lake.current("grades", "c")
    home.grade("grades")
    assert judge.total == asked
    assert {row["n"] for row in home.drift("c").values()} == {SENTINELS - 1}
    assert home.lake.current("grades", "c") != version, "a row less"
    judge.changed = True
    home.write_prefixes(30, after=1_000)
    home.grade("production_grades")
    assert judge.total == asked + 30 + SENTINELS - 1
    assert all(row["drifted"] for row in home.drift("m").values())


def test_sentinels_that_are_refused_now_block_no_grading_and_are_no_verdicts(
    both: tuple[Home, JudgeServer],
) -> None:
    home, judge = both
    home.grade("production_grades")
    judge.refuses = lambda said: not said.endswith("too")  # whatever the sentinels are
    home.grade("grades")
    watched = home.watched("grades")
    assert watched is not None
    assert (watched["items"], watched["graded"]) == (SENTINELS, 0)
    assert all((r["n"], r["drifted"]) == (0, False) for r in home.drift("c").values())
    graded = home.lake.stats("grades", "c")["gradings"][home.grading_id]["graded"]
    assert graded == COUNT


def test_a_set_seals_what_it_rests_on_and_does_not_hold_newer_tables_for_set_back(
    both: tuple[Home, JudgeServer],
) -> None:
    home, _ = both
    home.grade("production_grades")
    seals = Seals(ledger.read(home.path))
    assert len(seals.sealed) == 1
    assert not seals.newest


def test_the_plan_prices_panel_repeats_and_sentinels(tmp_path: Path) -> None:
    home = Home(tmp_path, "http://127.0.0.1:9/v1", 1)
    del home.judge["model"]
    home.judge |= {"panel": ["judge", "b", "c"], "repeat_share": 0.02}
    parts = {one.what: one for one in costs_of(home.project, home.project.releases[-1], 10_000)}
    assert {what: one.requests for what, one in parts.items()} == {
        "replies of the candidate": 10_000,
        "grades of both sides": 20_000,
        "2 more judges of the panel": 40_000,
        "repeats (0.02)": 1_200,
        "sentinels (up to 60, per grading)": 360,
    }
    assert parts["grades of both sides"].money == pytest.approx(20_000 * (600 + 800) / 1e6)
    assert parts["2 more judges of the panel"].money is None


def test_the_plan_prices_what_tells_real_from_simulated_turns(tmp_path: Path) -> None:
    home = Home(tmp_path, "http://127.0.0.1:9/v1", 1)
    agents = Agents(
        affordances=("recorded", "library"), discriminator=Discriminator(sample=50, ablation=8)
    )
    project = home.project.model_copy(
        update={"agents": agents, "self_replay": SelfReplay(max_prefixes=200)}
    )

    def planned(project: Project) -> dict[str, float]:
        last = project.releases[-1]
        after = last.model_copy(update={"model_version": "c", "predecessor": last.model_version})
        return {one.what: one.requests for one in costs_of(project, after, 10_000)}

    found = planned(project)
    assert found["discriminator"] == 50 + 8, "a pair each, and those without the library again"
    [again] = [count for what, count in found.items() if what.startswith("turns of the ablation")]
    assert again == 8 * UNSEEN_STEPS
    none = agents.model_copy(update={"discriminator": Discriminator(sample=50, ablation=0)})
    assert planned(project.model_copy(update={"agents": none}))["discriminator"] == 50
    without = planned(project.model_copy(update={"self_replay": None}))
    assert "discriminator" not in without
