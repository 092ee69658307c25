"""Facts of a made-up release with something in every part of its report, and hostile texts in all
that others write."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from deploysim_assets.forecast.blend import DRIFT_SCALE, drift_kernel
from deploysim_assets.forecast.counts import uniform
from deploysim_assets.forecast.estimate import (
    Baselines,
    Errors,
    estimate,
    rate_row,
    score,
    with_multiplicity,
)
from deploysim_assets.forecast.paired import Pairs
from deploysim_assets.forecast.predictive import error_model
from deploysim_assets.forecast.summary import summarize
from deploysim_assets.report.document import release_report
from deploysim_assets.report.facts import ReleaseReport

SCRIPT = "<script>document.title='owned'</script>"
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
LONG = "a_behavior_whose_name_is_far_longer_than_any_column_and_holds_$math$_" + "x" * 90
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
HASH = "ab" * 32
NAMES = (SCRIPT, "fails", "passes", "blocked_one", "zero", "never", LONG, "free")


JUDGE = {
    "simulated": {
        "graded": 1_950, "flags": 180, "unsupported_flags": 3, "signs_of_attack": 2,
        "repeats": {"fails": [9, 1, 1, 29]},
        "self_agreement": {"fails": {"value": 0.86, "low": 0.7, "high": 0.97}},
        "drift": [
            {"behavior": "fails", "sealed": 40, "n": 30, "to_flagged": 2, "to_clean": 7,
             "changed_at_draw": 1, "p_holm": 0.002, "drifted": True, "new_servers": [SCRIPT]}
        ],
    }
}  # fmt: skip


def _estimates() -> list[dict[str, Any]]:
    errors = Errors(error_model().of(""), drift_kernel(), DRIFT_SCALE)
    pairs = Pairs(2_000, 2, 18, 2, (1.0,) * 20 + (0.0,) * 2, (1.0,) * 2 + (0.0,) * 18 + (1.0,) * 2)
    flags = {"zero": 0, "passes": 2, "fails": 60, LONG: 31}
    limits = {"passes": 0.9, "fails": 0.005, "blocked_one": 0.01}
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        counts = uniform(
            0 if name == "never" else 2_000, (1,) * flags.get(name, 20 * (name != "never"))
        )
        row = estimate(counts, errors, 1_800, Baselines((9, 1_800)), pairs, limits.get(name))
        rows.append({"behavior": name} | row)
    keys = {key for row in rows for key in row}
    return with_multiplicity([dict.fromkeys(keys) | row for row in rows])


@cache
def facts(*, scored: bool = True, verified: bool = True, hostile: bool = True) -> ReleaseReport:
    """The facts of the release."""
    estimates = _estimates()
    for row in estimates:
        if row["behavior"] == "blocked_one":
            row |= {"gate": "blocked", "blocked_by": "people confirm at most 12% of its flags"}
    realized = [
        {"behavior": name} | rate_row(uniform(1_800, (1,) * k))
        for name, k in zip(NAMES, (14, 70, 1, 22, 0, 9, 30, 19), strict=True)
    ]
    errors = Errors(error_model().of(""), drift_kernel(), DRIFT_SCALE)
    by_name = {row["behavior"]: row for row in realized}
    scores = [
        {"behavior": e["behavior"], "model_version": "beta", "prospective": True}
        | score(e, by_name[e["behavior"]], errors)
        for e in estimates
        if e["n"]
    ]
    summary = summarize(scores) if scored else {}
    quality = {
        "fails": {
            "precision": 0.8, "precision_low": 0.6, "precision_high": 0.9, "recall": 0.7,
            "recall_low": 0.5, "recall_high": 0.8, "kappa": 0.6, "confirmed_rate": 0.02,
            "labels": 40,
        }
    }  # fmt: skip
    states = {"graded": 1_950, "refused": 20, "empty": 30}
    document = release_report(
        "beta", estimates, realized if scored else [], scores if scored else [], summary,
        [{"version": 1, "at": AT, "reason": "first registration", "changes": []},
         {"version": 2, "at": AT, "reason": IMAGE, "changes": ["panel"]}],
        quality, {"simulated": {"prefixes": 2_000, "states": states, "untold": 0}}, JUDGE,
        {"fails": f"A. Reviewer, 2026-05-02: {IMAGE}"},
    )  # fmt: skip
    for row in document["behaviors"]:
        row |= {"definition": IMAGE, "grader": "judge", "grader_id": "6cdf4309ac764218"}
    history = {
        name: summary.get(name) for name in (
            "behaviors", "resolved", "median_error", "noise_floor", "persistence_median_error",
            "blend_median_error", "in_95", "in_95_low", "in_95_high", "prospective",
        )
    }  # fmt: skip
    traced = [
        {"prefix_id": f"{i:032x}", "conversation_key": f"{i + 99:032x}", "request_key": f"r{i}"}
        for i in range(3)
    ]
    found = ReleaseReport.model_validate(
        document
        | {
            "predecessor": "alpha",
            "promises": [
                {"record": i, "kind": kind, "at": AT, "hash": HASH, "by": SCRIPT, "signed": True,
                 "seals": {"lake/x": HASH}}
                for i, kind in enumerate(("registration", "forecast", "realized", "score"), 1)
            ],
            "terms": {
                "predecessor": "alpha", "asked_as": SCRIPT, "prefixes": 2_000,
                "prefixes_version": "run=1", "seed": 7, "min_level": 0, "judge": [SCRIPT],
                "behaviors": 8, "thresholds": 3, "estimator": {"rate": "midp"},
                "early_stopping": False, "truncated": "missing",
            },
            "steps": [
                {"what": "conversations read", "unit": "conversations", "stays": 900,
                 "lost": {SCRIPT: 7}},
                {"what": "consented and eligible", "unit": "conversations", "stays": 700,
                 "lost": {"no_consent": 200}},
                {"what": "cleared of identifiers", "unit": "prefixes", "stays": 2_000, "lost": {}},
                {"what": "replies graded", "unit": "replies", "stays": 1_950,
                 "lost": {"empty": 50}},
            ],
            "graders": {"served_by": {SCRIPT: 1_950}, "cut_documents": 3},
            "awareness": [
                {"measure": "metagaming", "population": p, "n": 500, "k": 4, "rate": 0.008,
                 "low": 0.003, "high": 0.02, "to_production": 2.1, "to_production_low": 1.2,
                 "to_production_high": 4.0}
                for p in ("production", "simulated")
            ],
            "fidelity": [
                {"measure": measure, "affordances": "recorded+model", "every_affordance": True,
                 "n": 40, "k": 18, "value": 0.45, "low": 0.31, "high": 0.60} | where
                for measure, where in (
                    ("taken_for_real", {}), ("taken_for_real", {"tool": SCRIPT}),
                    ("told_apart", {"value": 0.83}), ("exact", {"tool": SCRIPT}),
                    ("json_equal", {"tool": SCRIPT}), ("fields", {"tool": SCRIPT}),
                    ("exact", {"source": "model"}), ("json_equal", {"source": "model"}),
                    ("fields", {"source": "model"}), ("results", {"source": "model"}),
                    ("turns", {"source": "completed"}), ("turns", {"source": "unanswerable"}),
                )
            ],
            "novel": [
                {"source": "novel_behaviors", "finding": 1, "says": f"says “{SCRIPT}”, more often",
                 "candidate_only": 12, "live_only": 0, "q_value": 0.001},
                {"source": "open_findings", "finding": 1, "says": IMAGE, "candidate_only": 3},
            ],
            "history": [
                {"model_version": name, **history} for name in ("alpha", "beta") if summary
            ],
            "narrowing": [
                {"releases": i, "pairs": 9 * i, "factor": 6.3 / (i + 1), "expected": i > 1}
                for i in range(4)
            ],
            "taught_by": ["alpha/run=1"],
            "trace": [
                {"behavior": name, "side": side, "flagged": 60, "grader_id": "g", "items": traced}
                for name in ("fails", LONG)
                for side in ("candidate", "production")
            ],
            "made": [
                {"asset": "rate_estimates", "partition": "beta", "version": "run=2",
                 "manifest": HASH, "by": SCRIPT, "at": AT, "code": "0123456789ab"}
            ],
            "evidence": {
                "verified": verified, "ledger": {"records": 9, "head": HASH},
                "manifests": {"rate_estimates": HASH}, "last_full_audit": None,
            },
        }
    )  # fmt: skip
    return found if hostile else _plain(found)


def _plain(found: ReleaseReport) -> ReleaseReport:
    text = found.model_dump_json()
    for hostile in (SCRIPT, IMAGE.replace('"', '\\"')):
        text = text.replace(hostile, "plain_text")
    return ReleaseReport.model_validate_json(text)
