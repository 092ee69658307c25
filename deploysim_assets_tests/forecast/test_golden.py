"""The golden cases: input -> expected output, computed independently of this code, through a
thin adapter."""

import json
import math
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from deploysim_assets import schema
from deploysim_assets.assets.sufficient_statistics import counts_by_behavior
from deploysim_assets.forecast import (
    blend,
    decomposition,
    grader_error,
    paired,
    planner,
    predictive,
    rates,
    scores,
    sequential,
    weighted,
)
from deploysim_assets.forecast.predictive import Scored
from deploysim_assets.forecast.weighted import Gamma
from deploysim_assets.sql import run_model
from deploysim_assets_tests.support import SHARED

_FILE = SHARED / "golden" / "statistics.json"
CASES = json.loads(_FILE.read_text())["cases"] if _FILE.exists() else []


def _sufficient(s: weighted.Sufficient) -> dict[str, float]:
    return s._asdict() | {"n_kish": 1 / s.w0}


def _error_model(
    history: list[Any], category: str, target: dict[str, float], y: list[int]
) -> dict[str, Any]:
    model = predictive.error_model(Scored(*row) for row in history)
    weights = model.of(category)
    cumulative = np.cumsum(weights)
    return {
        "cdf": [
            predictive.predictive_cdf(count, Gamma(target["a"], target["b"]), target["M"], weights)
            for count in y
        ],
        "tau_mean": model.tau_mean,
        "delta_quantiles": [
            float(np.interp(q, cumulative, predictive.DELTA))
            for q in (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
        ],
    }


def _blend(
    k: int, n: int, tau: float, Y_prev: int, M_prev: int, drift_scale: float, M: int, y: list[int]
) -> list[float]:
    both = blend.Blend(
        (k, n), predictive.kernel(0, tau), (Y_prev, M_prev), blend.drift_kernel(drift_scale)
    )
    return [both.cdf(count, M) for count in y]


def _sql(rows_conv_stratum_msg_flag: list[Any], W: dict[str, float]) -> dict[str, Any]:
    """The rows as a grades table, through our SQL and into counts; conversations are numbered
    within their stratum."""
    size = {
        h: sum(1 for _, stratum, _, _ in rows_conv_stratum_msg_flag if str(stratum) == h) for h in W
    }
    grades = [
        {
            "prefix_id": f"{conversation}-{stratum}-{message}", "model_version": "m",
            "grading_id": "g", "stratum": str(stratum),
            "user_key": f"{stratum}-{conversation}",
            "weight": W[str(stratum)] / size[str(stratum)],
            "missing": ["b"] if flag is None else [], "skipped": [],
            "status": "failed" if flag is None else "graded",
            "evidence": [], "b": None if flag is None else bool(flag),
        }
        for conversation, stratum, message, flag in rows_conv_stratum_msg_flag
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        pl.DataFrame(grades, schema=schema.grades(["b"])).write_parquet(f"{folder}/part-0.parquet")
        tables = {"grades": f"{folder}/part-*.parquet"}
        rate_counts, clusters = run_model("rate_counts", tables), run_model("flag_clusters", tables)
    found = counts_by_behavior(rate_counts, clusters)["b"]
    by_stratum = {
        row["stratum"]: {"n": row["n"], "k": row["k"]} for row in rate_counts.iter_rows(named=True)
    }
    message = {h: W[h] / by_stratum[h]["n"] for h in W}
    z: dict[str, float] = {}
    for row in clusters.iter_rows(named=True):
        z[row["user_key"]] = z.get(row["user_key"], 0.0) + message[row["stratum"]] * row["flags"]
    naive = sum(by_stratum[h]["k"] * message[h] ** 2 for h in W)
    return {
        "suff": by_stratum,
        "y": found.sufficient.y,
        "v_clustered": found.sufficient.v,
        "v_naive": naive,
        "z_sorted": sorted(z.values()),
    }


ADAPTER: dict[str, Callable[..., Any]] = {
    "clopper_pearson": rates.clopper_pearson,
    "midp": rates.midp_interval,
    "upper_bound": rates.upper_bound,
    "garwood": rates.garwood,
    "wilson": rates.wilson,
    "jeffreys": rates.jeffreys_interval,
    "jeffreys_rate": rates.jeffreys_rate,
    "poststrat": lambda k_h, n_h, W_h: _sufficient(weighted.poststratified(k_h, n_h, W_h)),
    "cluster_suff": lambda z, w0, wmax: _sufficient(weighted.clustered(z, w0, wmax)),
    "fay_feuer": lambda y, v, wm: weighted.fay_feuer(y, v, wm),
    "midp_gamma": lambda y, v, wm: weighted.midp_gamma(y, v, wm),
    "gamma_posterior": lambda y, v, wm: weighted.weighted_jeffreys(y, v, wm),
    "predictive_cdf_kernel": lambda y, a, b, M, kernel, tau, loc: predictive.predictive_cdf(
        y, Gamma(a, b), M, predictive.kernel(loc, tau)
    ),
    "prob_rate_exceeds_kernel": lambda t, a, b, kernel, tau, loc: predictive.prob_rate_exceeds(
        t, Gamma(a, b), predictive.kernel(loc, tau)
    ),
    "error_model": _error_model,
    "tau_profile": lambda rows: predictive.tau_profile([Scored("", *row) for row in rows]),
    "mult_error": lambda k, n, Y, M: scores.multiplicative_error(k, n, Y, M),
    "nll_regret": lambda p_hat, K, N: scores.binomial_regret(p_hat, K, N),
    "signflip_p": lambda x: scores.sign_flip_p(x),
    "noise_floor": lambda lam_k, lam_Y, q: scores.noise_floor(lam_k, lam_Y, q),
    "noise_floor_approx": lambda lam_k, lam_Y: scores.noise_floor_approx(lam_k, lam_Y),
    "prob_increase": lambda a1, b1, a0, b0: scores.probability_of_increase(
        Gamma(a1, b1), Gamma(a0, b0)
    ),
    "median_ci": lambda x: scores.median_interval(x),
    "covered": lambda cdf_y, cdf_ym1, conf: scores.covered(cdf_y, cdf_ym1, conf),
    "attenuation": lambda p, se, fpr: grader_error.attenuation(p, se, fpr),
    "log_gamma_moments": lambda a, b: grader_error.log_gamma_moments(a, b),
    "confirmed_rate": lambda flag_a, flag_b, tp, m1: grader_error.confirmed_rate(
        Gamma(flag_a, flag_b), tp, m1
    ),
    "corrected_rate": lambda flag_a, flag_b, tp, m1, hit, m_se, se_logsd: (
        grader_error.corrected_rate(Gamma(flag_a, flag_b), tp, m1, hit, m_se, se_logsd)
    ),
    "tau_from_median": lambda mult_err: scores.tau_from_median(mult_err),
    "logratio": lambda a, b, Y, M: scores.log_ratio_moments(Gamma(a, b), Y, M),
    "drift_prior": lambda Y_prev, M_prev, sd_drift: blend.drift_prior(Y_prev, M_prev, sd_drift),
    "blend_kernel": _blend,
    "excess_tau": lambda d, s2: scores.excess_tau(d, s2),
    "cov_decomposition": lambda D, S: {
        "C": decomposition.decompose(D, S).covariance.tolist(),
        "shares": decomposition.decompose(D, S).shares.tolist(),
    },
    "holm": lambda p: paired.holm(p).tolist(),
    "evalue": lambda k, n, t, rho: sequential.e_value(k, n, t, rho),
    "seq_decision": lambda k, n, t: sequential.decision(k, n, t),
    "events_needed": lambda r: planner.events_needed(r),
    "n_for_gate": lambda t, ratio: planner.n_for_gate(t, ratio),
    "sql_sufficient_statistics": _sql,
    "mcnemar_midp": paired.mcnemar_midp,
    "paired_ratio": paired.paired_ratio,
}


def _agrees(expected: Any, found: Any, rtol: float, atol: float) -> bool:
    if isinstance(expected, dict):
        return all(_agrees(value, found[key], rtol, atol) for key, value in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(found) and all(
            _agrees(e, f, rtol, atol) for e, f in zip(expected, found, strict=True)
        )
    if isinstance(expected, str):
        return expected == found
    return math.isclose(expected, found, rel_tol=rtol, abs_tol=atol)


@pytest.mark.skipif(
    not CASES, reason=f"the golden cases are not part of the project: {_FILE} is absent"
)
def test_there_are_golden_cases_for_every_adapted_function() -> None:
    assert set(ADAPTER) == {case["fn"] for case in CASES}


@pytest.mark.parametrize(
    "case", [c for c in CASES if c["fn"] in ADAPTER], ids=lambda c: f"{c['id']}-{c['fn']}"
)
def test_a_golden_case(case: dict[str, Any]) -> None:
    found = ADAPTER[case["fn"]](**case["inputs"])
    assert _agrees(case["expected"], found, case["rtol"], case["atol"]), (
        f"{found} is not {case['expected']}"
    )
