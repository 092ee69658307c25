"""The demo as a user runs it, then Dagster's UI over it in a real browser, from the clone and
from the installed wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, sync_playwright

from deploysim_assets_tests.support import (
    ARTIFACTS,
    REPO,
    daemon,
    deploysim,
    environment,
    keep_picture,
    lake,
    report,
    webserver,
)

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# CI must not pass by skipping: .ci/run installs the browser
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"),
    reason="no chromium on this machine: apt-get install chromium",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("demo") / "home"
    done = deploysim(home.parent, "demo", "--home", str(home), "--conversations", "150")
    return home, done.stdout


def test_the_demo_ends_in_scored_forecasts_beside_the_truth(demo: tuple[Path, str]) -> None:
    home, said = demo
    for release in ("aurora-2", "aurora-3", "aurora-4"):
        assert f"{release}: rates per 100,000 messages" in said
    assert "truth" in said
    hacking = [line for line in said.splitlines() if line.strip().startswith("calculator_hacking")]
    assert len(hacking) == 3
    assert "2,500" in hacking[1], "the truth of the release that brings it"
    assert "Sealed before the first production message." in " ".join(said.split())
    assert (
        f"cd {home} && DEPLOYSIM_HOME=$PWD DAGSTER_HOME=$PWD/.dagster dg dev -w workspace.yaml"
        in said
    )
    assert "telemetry: {enabled: false}" in (home / ".dagster" / "dagster.yaml").read_text()


def test_no_raw_identifier_is_anywhere_but_in_the_raw_tables(demo: tuple[Path, str]) -> None:
    home, _ = demo
    needle = re.compile(rb"kim\.\d{4}@lindenhof\.test")
    assert needle.search((home / "logs" / "aurora-2" / "traffic.jsonl").read_bytes())
    for asset in sorted((home / "lake").iterdir()):
        if asset.name == "raw_logs":
            continue
        for model in asset.glob("model_version=*"):
            rows = list(lake(home).rows(asset.name, model.name.removeprefix("model_version=")))
            assert not needle.search(json.dumps(rows, default=str).encode()), asset
    for path in home.rglob("*"):
        inside = path.relative_to(home).parts
        if path.is_file() and inside[0] not in ("logs", "lake"):
            assert not needle.search(path.read_bytes()), path


def test_the_plan_says_how_many_prefixes_and_what_they_cost(demo: tuple[Path, str]) -> None:
    home, _ = demo
    said = " ".join(
        deploysim(
            home, "plan", "--prefixes", "100000", "--plot", str(home / "plan.png")
        ).stdout.split()
    )
    assert "Prefixes needed" in said
    assert "from 27 scored forecasts" in said
    tokens = re.search(
        r"100,000 prefixes: about ([\d,]+) tokens, no prices in deploysim.yaml", said
    )
    assert tokens
    assert 1e7 < float(tokens[1].replace(",", "")) < 1e9
    assert (home / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_reports_status_and_a_second_forecast_find_the_work_done(demo: tuple[Path, str]) -> None:
    home, _ = demo
    document = report(home, "aurora-3")
    assert len(document["behaviors"]) == 9
    assert all(b["realized"]["n"] for b in document["behaviors"])
    assert (
        "| calculator_hacking |" in deploysim(home, "report", "aurora-3", "--format", "md").stdout
    )
    first = report(home, "aurora-1")
    assert all(b["forecast"] is None and b["realized"]["n"] for b in first["behaviors"])
    status = deploysim(home, "status").stdout
    assert re.search(r"aurora-4\s+aurora-3\s+yes\s+yes\s+yes\s+-", status)
    again = deploysim(home, "forecast", "aurora-3")
    assert "the forecast is sealed already" in again.stderr
    assert report(home, "aurora-3") == document
    wrong = deploysim(home, "forecast", "aurora-9", check=False)
    assert wrong.returncode == 64
    assert "no model version 'aurora-9'; there are: aurora-1" in wrong.stderr
    root = deploysim(home, "forecast", "aurora-1", check=False)
    assert (root.returncode, "has no predecessor" in root.stderr) == (64, True)


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = deploysim(tmp_path, "demo", "--home", str(tmp_path), check=False)
    assert done.returncode == 64
    assert "not an earlier demo" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"


def _graphql(port: int, query: str) -> Any:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.loads(response.read())["data"]


def _settled(page: Page, url: str, text: str) -> None:
    page.goto(url)
    page.get_by_text(text).first.wait_for()


@needs_browser
def test_the_ui_shows_green_partitions_the_graph_and_a_plot(demo: tuple[Path, str]) -> None:
    home, _ = demo
    ARTIFACTS.mkdir(exist_ok=True)
    outside: list[str] = []

    def seen(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            outside.append(request.url)

    with daemon(home), webserver(home) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1700, "height": 1100})
        page.set_default_timeout(120_000)
        page.on("request", seen)
        base = f"http://127.0.0.1:{port}"

        _settled(page, f"{base}/asset-groups/", "Global asset lineage")
        page.get_by_text("production_side").first.wait_for()
        keep_picture(page, "asset-graph.png")

        _settled(
            page,
            f"{base}/assets/calibration_report?view=partitions&partition=aurora-4",
            "Materialized (3)",
        )
        page.get_by_text("Missing (0)").wait_for()
        page.get_by_text("Failed (0)").wait_for()
        page.get_by_text("F forecast, R realized").wait_for()  # the plot, without a click
        assert "Forecast, per 100,000 messages." in page.inner_text("body")
        page.get_by_text("[Show Markdown]").first.click()  # what Dagster makes of a long text
        plot = page.locator("img[src^='data:image/png']").first
        plot.wait_for()
        assert plot.evaluate("image => image.naturalWidth") > 300
        keep_picture(page, "calibration-report.png")

        for asset, check in (
            ("raw_logs", "inside_the_release_window"),
            ("deidentified_prefixes", "canary_recall"),
            ("rate_counts", "n_in_range"),
        ):
            _settled(page, f"{base}/assets/{asset}?view=checks", "Failing means")
            page.get_by_text(check).first.click()
            page.get_by_text("What to do:").wait_for()
            assert "Not evaluated" not in page.inner_text("body")
        for asset in ("rate_estimates", "rate_counts", "raw_logs"):
            _settled(page, f"{base}/assets/{asset}?view=overview", "Column name")
            if asset != "rate_counts":  # rows of the table come after its header
                page.get_by_text("The release: the partition").first.wait_for()
            assert "No description" not in page.inner_text("body")

        _settled(page, f"{base}/assets/raw_logs?view=partitions", "Materialized (4)")
        keep_picture(page, "raw-logs.png")
        browser.close()

        runs = _graphql(
            port,
            "{ runsOrError(filter: {statuses: [FAILURE]}) { ... on Runs { results { id } } } }",
        )
        assert runs["runsOrError"]["results"] == []
    assert outside == []


def test_the_installed_wheel_serves_the_same_location(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    home, _ = demo
    target = tmp_path / "site"
    installed = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            str(target),
            str(REPO),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    assert (target / "deploysim_assets" / "dbt_like_sql" / "models.yml").exists()
    code = (
        "import deploysim_assets, json; from deploysim_assets.definitions import defs; "
        "graph = defs.resolve_asset_graph(); "
        "node = graph.get(next(k for k in graph.get_all_asset_keys() "
        "if k.path == ['rate_estimates'])); "
        "print(json.dumps([deploysim_assets.__file__, "
        "node.partitions_def.get_partition_keys()]))"
    )
    served = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:deploysim_assets", "-c", code],
        env=environment(home, PYTHONPATH=str(target)),
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    where, releases = json.loads(served.stdout)
    assert where.startswith(str(target))
    assert releases == ["aurora-2", "aurora-3", "aurora-4"]
