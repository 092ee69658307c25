"""People against graders: the labeling page in a real browser, and what imported labels do to
reports and gates."""

import csv
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Page, Request, sync_playwright

from deploysim_assets import schema
from deploysim_assets.assets.current_quality import current_quality
from deploysim_assets.assets.grader_quality import quality_rows
from deploysim_assets.cli.demo import ship, synthetic_endpoint, write_project
from deploysim_assets.forecast.gate import blocked
from deploysim_assets.forecast.rates import clopper_pearson
from deploysim_assets.grading.labels import KEYS, LABELS_FILE, keep, labels, read_sheet
from deploysim_assets.project import ProjectError
from deploysim_assets.storage.tables import Lake
from deploysim_assets.synthetic.world import BEHAVIORS, JUDGE_SENSITIVITY
from deploysim_assets_tests.end_to_end.test_demo_and_ui import CHROMIUM, FLAGS, needs_browser
from deploysim_assets_tests.support import (
    ARTIFACTS,
    SHARED,
    deploysim,
    environment,
    free_port,
    keep_picture,
    needs_shared,
    report,
    rows,
    script,
    stop,
    wait_for,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    with synthetic_endpoint(4) as base_url:
        write_project(folder, base_url, 250)
        ship(
            folder, "aurora-1", 200, 4, datetime.now(UTC) - timedelta(days=3), timedelta(minutes=1)
        )
        deploysim(folder, "forecast", "aurora-2")
    return folder


@contextmanager
def page(home: Path, sheet: Path) -> Generator[str]:
    port = free_port()
    command = [
        script("deploysim"),
        "audit",
        "graders",
        "label",
        str(sheet),
        "--labeler",
        "ada",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(
        command, env=environment(home), cwd=home, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        import urllib.request

        def answers() -> bool:
            try:
                return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read())
            except OSError:
                return False

        wait_for(answers, 300, "the page", 0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        stop(process)


def _label(shown: Page, count: int, *, truly: bool) -> None:
    """Press y or n for `count` items by what the reply says, or the other way round."""
    phrases = {b.name: b.phrase for b in BEHAVIORS}
    for _ in range(count):
        position = shown.locator("#count").inner_text()
        shows = (
            phrases[shown.locator("#behavior").inner_text()] in shown.locator(".reply").inner_text()
        )
        shown.keyboard.press("y" if shows == truly else "n")
        shown.wait_for_function(
            "before => document.getElementById('count').innerText !== before", arg=position
        )


@needs_browser
def test_ten_items_are_labeled_by_keyboard_and_the_figures_follow(home: Path) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    sheet = home / "sheet.csv"
    done = deploysim(
        home,
        "audit",
        "graders",
        "draw",
        "aurora-2",
        "--flags",
        "6",
        "--others",
        "6",
        "--out",
        str(sheet),
    )
    assert "replies written" in done.stdout
    assert sheet.stat().st_mode & 0o077 == 0, "it holds texts"
    drawn = read_sheet(sheet)
    assert drawn[0]["behavior"] == "background_promise"
    outside: list[str] = []

    def seen(request: Request) -> None:
        if not request.url.startswith("http://127.0.0.1"):
            outside.append(request.url)

    with page(home, sheet) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1100, "height": 800})
        shown.set_default_timeout(120_000)
        shown.on("request", seen)
        shown.goto(url)
        shown.locator(".reply").wait_for()
        assert "flagged" not in shown.content().casefold(), (
            "people must not know what the grader said"
        )
        _label(shown, 10, truly=True)
        shown.keyboard.press("ArrowLeft")
        assert shown.locator("button[aria-pressed=true]").count() == 1
        keep_picture(shown, "labeling-page.png")

        first = deploysim(home, "audit", "graders", "import", str(sheet)).stdout
        assert "10 labels kept" in first
        before = report(home, "aurora-2")
        shown.goto(url)
        shown.locator(".reply").wait_for()
        assert "10 labeled" in shown.locator("#count").inner_text(), "it goes on where it was left"
        _label(shown, 8, truly=False)
        browser.close()
    assert outside == []
    assert (
        "8 labels kept, 10 were there already"
        in deploysim(home, "audit", "graders", "import", str(sheet)).stdout
    )
    after = report(home, "aurora-2")

    def labeled(document: dict[str, list[dict[str, object]]]) -> dict[str, object]:
        return {str(b["behavior"]): b["precision"] for b in document["behaviors"] if b["precision"]}

    assert labeled(before)
    assert labeled(before) != labeled(after)
    kept = (home / LABELS_FILE).read_text()
    assert not any(b.phrase in kept for b in BEHAVIORS), "no text of a reply is kept"


def test_planted_behaviors_are_graded_with_the_judges_known_precision_and_recall(
    home: Path,
) -> None:
    phrases = {b.name: b.phrase for b in BEHAVIORS if not b.rule}
    replies = {
        r["prefix_id"]: r["message"]["content"]
        for r in rows(home, "candidate_completions", "aurora-2")
    }
    hits = shown = flagged = 0
    for row in rows(home, "grades", "aurora-2"):
        for name, phrase in phrases.items():
            planted = phrase in replies[row["prefix_id"]]
            shown += planted
            flagged += row[name]
            hits += planted and row[name]
    low, high = clopper_pearson(hits, shown, 0.99)
    assert low <= JUDGE_SENSITIVITY <= high
    assert flagged - hits <= 1, "false flags are two in 100,000"


def test_a_sheet_that_cannot_be_is_refused_by_row_and_column(home: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "s.csv"
    deploysim(
        home,
        "audit",
        "graders",
        "draw",
        "aurora-2",
        "--flags",
        "1",
        "--others",
        "1",
        "--out",
        str(sheet),
    )
    drawn = read_sheet(sheet)
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(drawn[0]))
        writer.writeheader()
        writer.writerows([drawn[0] | {"label": "maybe", "labeler": "ada"}])
    with pytest.raises(ProjectError, match="row 2: label 'maybe': write yes, no or unsure"):
        read_sheet(sheet)
    sheet.write_text("a,b\n1,2\n")
    with pytest.raises(ProjectError, match="no column source"):
        read_sheet(sheet)


def _recorded(home: Path, behavior: str, wanted: str) -> tuple[Lake, pl.DataFrame, str]:
    """A graded release made of the judge's labels of one model's answers to unsafe prompts:
    flagged is what the judge called `wanted`."""
    frame = pl.read_parquet(SHARED / "data" / "xstest_labels" / "labels.parquet")
    frame = frame.filter(
        pl.col("gpt4_label").str.contains(r"^\d_")
        & pl.col("prompt_is_unsafe")
        & (pl.col("model") == "llama2new")
    )
    frame = frame.with_columns(
        prefix_id=pl.col("id").cast(pl.String).str.zfill(16), flag=pl.col("gpt4_label") == wanted
    )
    store, grader = Lake(home / "lake"), "a" * 16
    graded = [
        {
            "prefix_id": r["prefix_id"], "model_version": "m", "grading_id": "g", "stratum": "all",
            "weight": 1.0, "user_key": r["prefix_id"],
            "missing": [], "skipped": [], "status": "graded", "evidence": [], behavior: r["flag"],
        }
        for r in frame.iter_rows(named=True)
    ]  # fmt: skip
    facts = {"gradings": {"g": {"grader_ids": {behavior: grader}}}}
    store.write(
        "production_grades",
        "m",
        pl.DataFrame(graded, schema=schema.grades([behavior])),
        "run",
        facts,
    )
    return store, frame, grader


@needs_shared
@pytest.mark.parametrize(
    ("behavior", "wanted", "refused"),
    [
        ("complies_with_unsafe", "1_full_compliance", True),
        ("refuses_fully", "2_full_refusal", False),
    ],
)
def test_published_disagreement_between_people_and_judge_comes_out_and_the_gate_refuses_on_it(
    tmp_path: Path, behavior: str, wanted: str, refused: bool
) -> None:
    store, frame, grader = _recorded(tmp_path, behavior, wanted)
    keys = {
        "source": "production_grades",
        "model_version": "m",
        "behavior": behavior,
        "grader_id": grader,
    }
    sheet = [
        keys
        | {
            "prefix_id": r["prefix_id"],
            "label": "yes" if r[f"annotation_{who}"] == wanted else "no",
            "labeler": f"person {who}",
        }
        for r in frame.iter_rows(named=True)
        for who in (1, 2)
    ]
    assert set(KEYS) <= set(sheet[0])
    assert keep(tmp_path, sheet) == (2 * frame.height, 0)
    assert keep(tmp_path, sheet) == (0, 2 * frame.height)
    (row,) = quality_rows(store, list(labels(tmp_path)))
    people, judge = (frame[c] == wanted for c in ("final_label", "gpt4_label"))
    assert row["flagged"] == judge.sum()
    if behavior == "refuses_fully":
        assert people.mean() == pytest.approx(0.975, abs=0.006)
        assert judge.mean() == pytest.approx(0.725, abs=0.01)
        assert row["precision"] > 0.97
        assert row["recall"] == pytest.approx((people & judge).sum() / people.sum(), abs=0.03)
        assert row["recall"] < 0.8
        assert row["kappa"] < 0.3
    agreement = [
        (frame[f"annotation_{who}"] == wanted)
        == (frame["annotation_1" if who == 2 else "gpt4_label"] == wanted)
        for who in (1, 2)
    ]
    assert agreement[1].mean() > agreement[0].mean() + 0.05, (
        "people agree with each other far better than with the judge"
    )
    assert -1 <= row["alpha_low"] <= row["alpha"] <= row["alpha_high"] <= 1
    store.write("grader_quality", None, pl.DataFrame([row], schema=schema.GRADER_QUALITY), "run")
    quality = current_quality(store, {behavior: grader}, "m")[behavior]
    assert blocked("pass", quality, 0.3) == ("blocked" if refused else "pass")
    assert blocked("no threshold", quality, 0.3) == "no threshold"

    assert current_quality(store, {behavior: "b" * 16}, "m") == {}, (
        "labels of another rubric or judge say nothing of this one"
    )
    facts = {"gradings": {"g": {"grader_ids": {behavior: "b" * 16}}}}
    store.write(
        "production_grades", "m", store.scan("production_grades", "m").collect(), "again", facts
    )
    (stale,) = quality_rows(store, list(labels(tmp_path)))
    assert (stale["stale"], "precision" in stale) == (True, False)
