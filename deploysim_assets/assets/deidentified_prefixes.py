"""deidentified_prefixes: sampled user turns of a release, cleared of identifiers; what every
later asset reads."""

import secrets
from collections import Counter

import dagster as dg
import polars as pl

from deploysim_assets.assets.registry_lines import registry_line
from deploysim_assets.assets.withheld_text import text_withheld
from deploysim_assets.automation import CHEAP
from deploysim_assets.checks.gate import require_checked
from deploysim_assets.io_manager import making, table_result
from deploysim_assets.logs.sampling import Sampler
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.releases import MODELS
from deploysim_assets.runs import DEIDENTIFY
from deploysim_assets.schema import PREFIXES, QUARANTINE
from deploysim_assets.storage.tables import Lake


@dg.asset(
    partitions_def=MODELS,
    deps=["raw_logs"],
    automation_condition=CHEAP,
    group_name="production_side",
    kinds={"parquet"},
    pool=DEIDENTIFY,
)
def deidentified_prefixes(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> dg.MaterializeResult[None]:
    """Draw user turns among consented conversations, de-identify, and quarantine what could not
    be cleared."""
    from deploysim_assets.deidentify.keys import load_keys
    from deploysim_assets.deidentify.prefixes import Drawn, deidentified

    model = context.partition_key
    require_checked(context, lake, project, "raw_logs", model)
    agents = project.agents is not None
    settings = project.part(
        "sampling", "eligibility", "deidentification", *(["agents"] if agents else [])
    )
    lake = making(context, lake, settings | {"release": registry_line(project, model)})
    policy = project.deidentification
    if why := policy.unreachable(project.home):
        raise ProjectError(f"deploysim.yaml: {why}")
    keys = load_keys(
        project.home,
        may_create=not any(
            lake.current("deidentified_prefixes", r.model_version) for r in project.releases
        ),
    )
    if policy.surrogate_key == "run":
        keys = keys._replace(surrogates=secrets.token_bytes(32))
    raw = lake.current("raw_logs", model)
    source = project.release(model).logs
    sampler = Sampler(
        project.sampling, project.eligibility, frozenset({model, *source.model_names})
    )
    columns = sampler.survey_columns()
    found = sampler.survey(lake.rows("raw_logs", model, raw, columns))
    whole = lake.rows("raw_logs", model, raw, [pl.all(), *columns[1:]])
    drawn = (
        Drawn(conversation, turns)
        for conversation in whole
        if (turns := sampler.drawn(conversation, found))
    )
    reasons: Counter[str] = Counter()
    with (
        text_withheld(),
        lake.new_version("deidentified_prefixes", model, PREFIXES) as version,
    ):
        version.side_table("quarantine", QUARANTINE)
        released = 0
        for cut in deidentified(drawn, keys, policy.at(project.home), agents=agents):
            released += len(cut.prefixes)
            for row in cut.prefixes:
                version.add(row)
            for row in cut.quarantined:
                version.add(row, "quarantine")
                reasons[row["reason"]] += 1
        version.stats |= {
            "raw_logs_version": raw,
            "conversations": found.eligible + sum(found.ineligible.values()),
            "eligible": found.eligible,
            "ineligible": sum(found.ineligible.values()),
            "ineligible_by_reason": found.ineligible,
            "eligible_turns": found.turns,
            "drawn": released + reasons.total(),
            "released": released,
            "quarantined": reasons.total(),
            "quarantined_by_reason": dict(reasons),
            "users_capped": len(found.last_rank_of_user),
            "strata": {
                name or "all": {"turns": s.turns, "drawn": s.drawn, "weight": s.weight}
                for name, s in found.strata.items()
            },
            "largest_weight": found.largest_weight,
            "deid_level": policy.min_level,
            "replacement": policy.replacement,
            "surrogate_key": policy.surrogate_key,
        }
    return table_result(lake, "deidentified_prefixes", model, version.stats)
