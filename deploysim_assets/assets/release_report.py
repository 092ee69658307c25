"""release_report: the page that a reviewer reads of a release, kept beside the verdicts."""

from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.assets.release_facts import release_facts
from deploysim_assets.automation import PAGE
from deploysim_assets.io_manager import finding, making, markdown, table_result
from deploysim_assets.project import Project
from deploysim_assets.releases import CANDIDATES, PROJECT, SAME_MODEL
from deploysim_assets.report.figures import inline_image, png
from deploysim_assets.report.inline import text_table
from deploysim_assets.report.page import html, preview
from deploysim_assets.report.sections import sections
from deploysim_assets.report.verdicts import overall
from deploysim_assets.schema import RELEASE_REPORT
from deploysim_assets.storage.tables import Lake

PAGE_FILE = "report.html"
_SHOWN_HERE = ("funnel", "narrowing")
_OPTIONAL = {
    "awareness": dg.AssetDep("evaluation_awareness"),
    "exploration": dg.AssetDep("open_findings"),
    "replays_agents_of_the_live_model": dg.AssetDep("simulation_fidelity"),
    "sentinels": dg.AssetDep("grader_drift", partition_mapping=SAME_MODEL),
}


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "rate_estimates",
        "calibration_report",
        "novel_behaviors",
        "grader_quality",
        *(asset for setting, asset in _OPTIONAL.items() if PROJECT and getattr(PROJECT, setting)),
    ],
    automation_condition=PAGE,
    group_name="score",
    kinds={"html"},
)
def release_report(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """The release report as one page that needs nothing beside itself, sealed in the ledger: made
    when the forecast is, and again when the score lands.

    Open the file that `page` names in a browser; `deploysim report <release> --format html` writes
    the same with the ledger's head, the last full audit and the scores of later releases. It is not
    made where a seal of what it says does not hold. The table has the verdict on each behavior.
    """
    release = context.partition_key
    lake = making(context, lake, project.part("min_precision"))
    facts = release_facts(project, lake, release, whole=True, lasting=True)
    verdicts = [b.verdict.model_dump() for b in facts.behaviors]
    rows = [
        {
            "model_version": release,
            "behavior": b.behavior,
            "verdict": b.verdict.word,
            "why": b.verdict.why,
            "accepted": b.verdict.accepted,
        }
        for b in facts.behaviors
    ]
    word, sentence = overall(verdicts)
    seal = finding(context, lake)
    with lake.new_version("release_report", release, RELEASE_REPORT, seal=seal) as version:
        version.extend(pl.DataFrame(rows, schema=RELEASE_REPORT))
        version.page(PAGE_FILE, html(facts))
        version.stats |= {"verdict": word, "scored": bool(facts.summary)}
    first, *tables = preview(facts)
    metadata: dict[str, Any] = {
        "verdict": word,
        "behaviors": sentence,
        "page": dg.MetadataValue.path(str(version.folder / PAGE_FILE)),
        "says": dg.MetadataValue.md(first),
        **markdown("verdicts", [part for table in tables for part in text_table(table)]),
    }
    # the event log keeps every image: the others stand where forecast, score and scorecard are made
    for section in sections(facts):
        for drawing in section.figures:
            if drawing.kind in _SHOWN_HERE:
                image = inline_image(png(drawing), drawing.title)
                metadata[drawing.kind] = dg.MetadataValue.md(image)
    return table_result(lake, "release_report", release, metadata)
