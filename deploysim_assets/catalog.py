"""What Dagster's catalog says of every asset beside its description: owners, kinds, tags, columns,
and where its code is."""

import warnings
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from deploysim_assets.io_manager import column_schema
from deploysim_assets.project import Project
from deploysim_assets.schema import SIDE_TABLES, TABLES, grades
from deploysim_assets.schema.meanings import GRADES, meanings
from deploysim_assets.sql import models

_PII = {
    "log_files": "raw",
    "raw_logs": "raw",
    "deidentified_prefixes": "deidentified",
    "novel_behaviors": "deidentified",
    "open_findings": "deidentified",
    **dict.fromkeys(GRADES, "deidentified"),
    **{name: "deidentified" for name in TABLES if name.endswith("completions")},
}
"""Tables with texts of conversations; the others hold counts, hashes and figures."""

_SEALED = frozenset(
    {
        "preregistration", "realized_rates", "rate_estimates", "calibration_report", "scorecard",
        "error_decomposition", "elicitation_profile", "grader_quality", "grader_drift",
        "novel_behaviors", "evaluation_awareness", "open_findings", "release_report",
        "simulation_fidelity",
    }
)  # fmt: skip
"""Tables that a record of the ledger vouches for."""

_STATISTICS = _SEALED - {"preregistration", "open_findings", "release_report"}


_GUIDES = {
    **dict.fromkeys(("log_files", "candidate_completions", "grades"), "first-hour"),
    **dict.fromkeys(("raw_logs", "deidentified_prefixes"), "privacy"),
    **dict.fromkeys(
        ("rate_estimates", "calibration_report", "scorecard", "realized_rates", "release_report"),
        "reading",
    ),
    **dict.fromkeys(("preregistration", "grader_quality"), "auditing"),
    **dict.fromkeys(("self_completions", "error_decomposition"), "statistics"),
    "simulation_fidelity": "agents",
}
"""The guide in which an asset is explained, where that is one of its own; else the list of all
assets is."""


def _with_guide(asset: str, description: str | None) -> str:
    return f"{description or ''}\n\nGuide: `deploysim guide {_GUIDES.get(asset, 'settings')}`."


def _kinds(asset: str) -> set[str]:
    if asset == "log_files":
        return {"json"}
    return {"parquet", "scipy" if asset in _STATISTICS else "polars"}


def _columns(project: Project, asset: str) -> dict[str, dg.TableSchema]:
    """The columns of an asset's table, and of the tables beside it."""
    if asset in models():
        said = models()[asset].meanings()
        return {"dagster/column_schema": column_schema(dict.fromkeys(said, ""), said)}
    if asset not in TABLES:
        return {}
    behaviors = [behavior.name for behavior in project.behaviors]
    schemas: dict[str, pl.Schema] = {asset: grades(behaviors) if asset in GRADES else TABLES[asset]}
    schemas |= {name: s for name, s in SIDE_TABLES.items() if name.partition(".")[0] == asset}
    return {
        f"side table {name.partition('.')[2]}" if "." in name else "dagster/column_schema": (
            column_schema(schema, meanings(name, schema))
        )
        for name, schema in schemas.items()
    }


def _sql_file(asset: str) -> dict[str, dg.CodeReferencesMetadataValue]:
    if asset not in models():
        return {}
    path = models()[asset].file
    reference = dg.LocalFileCodeReference(file_path=str(path), line_number=1, label=path.name)
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}


def explained(
    project: Project, assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
) -> Sequence[Any]:
    """The assets with all that the catalog shows of them before anything was made."""

    def explain(spec: dg.AssetSpec) -> dg.AssetSpec:
        asset = spec.key.to_user_string()
        tags = {"pii": _PII[asset]} if asset in _PII else {}
        described = spec.replace_attributes(description=_with_guide(asset, spec.description))
        return described.merge_attributes(
            owners=project.owners,
            tags=tags | ({"sealed": "true"} if asset in _SEALED else {}),
            kinds=spec.kinds | {"parquet"} if spec.kinds else _kinds(asset),
            metadata=_columns(project, asset) | _sql_file(asset),
        )

    with warnings.catch_warnings():  # code references are beta, which each of them says at import
        warnings.simplefilter("ignore", dg.BetaWarning)
        described = [
            explain(a) if isinstance(a, dg.AssetSpec) else a.map_asset_specs(explain)
            for a in assets
        ]
        return dg.with_source_code_references(described)
