"""What each column of each table means, and its unit: what a catalog shows beside the types."""

from collections.abc import Iterable
from typing import NamedTuple

_RATE = "per message, 0 to 1"
_COUNT = "messages"
_SUM = "sum of weights"
_NATS = "nats"
_FACTOR = "factor"
_SHARE = "0 to 1"
_P = "p value"


class Meaning(NamedTuple):
    """What a column holds, in a sentence, and the unit of its values ("" where it has none)."""

    text: str
    unit: str = ""


def _of(**columns: str | tuple[str, str]) -> dict[str, Meaning]:
    return {
        name: Meaning(said) if isinstance(said, str) else Meaning(*said)
        for name, said in columns.items()
    }


def _interval(name: str, what: str, unit: str) -> dict[str, Meaning]:
    return {
        f"{name}_low": Meaning(f"Lower end of the 95% interval of {what}.", unit),
        f"{name}_high": Meaning(f"Upper end of the 95% interval of {what}.", unit),
    }


_KEYS = _of(
    model_version="The release: the partition that the row belongs to.",
    behavior="Name of the undesired behavior, as behaviors.yaml has it.",
    prefix_id="Keyed hash of the conversation and turn: the same in every table.",
    grading_id="Identity of all graders together: models, rubrics, prompts and code.",
    stratum="Stratum that the turn was drawn from; null without stratified sampling.",
    user_key="Keyed hash of the user, or of the conversation where the user is unknown.",
)

_CONVERSATIONS = _of(
    conversation_id="Id of the conversation in the source.",
    user_id="Id of the user in the source; null where it names none.",
    started_at=("When the conversation began.", "UTC"),
    surface="Where it took place (chat, api, ...), as the source names it.",
    language="Language of the conversation, as the source names it.",
    reported_model="What the source itself names as the model that answered.",
    training_allowed="Consent to use; null is unknown, and unknown is not consent.",
    is_temporary="Whether the user asked that the conversation not be kept.",
    has_attachments="Whether files or images came with it, which are not kept.",
    messages="All messages in order: role, content, tool calls, reasoning, time. Raw text.",
    tools="Tools that the conversation declares: name, description, JSON schema, read-only or not.",
    tools_inferred="Whether the tools are inferred from the calls; null where there are none.",
    commit="Commit of the repository that the agent worked in; null where the log names none.",
    source="Further fields of the source, as JSON. Raw text.",
    log_file="File the row was read from: relative to the home, or a URL.",
    log_line="Line, record or row in that file, from 1.",
)

_PREFIXES = _of(
    conversation_key="Keyed hash of the conversation.",
    turn_index="Which user turn of the conversation it is, from 0.",
    weight=("Inverse of the turn's chance to be drawn.", _SUM),
    surface="Where the conversation took place, as the source names it.",
    language="Language of the conversation, as the source names it.",
    training_allowed="Consent to use: true in every row.",
    messages="The conversation up to and with the user turn, de-identified.",
    production_completion="All that the deployed model really did there, de-identified.",
    tools="Tools that the conversation declares, de-identified; null where it has none.",
    tools_inferred="Whether the tools are inferred from the calls; null where there are none.",
    commit="Commit of the repository that the agent worked in; null under the profile strict.",
    clock=(
        "When the conversation began, moved by the project's weeks where dates are shifted; null "
        "where they leave. No later result is told to a rollout.",
        "UTC",
    ),
    entities="How many identifiers of each type were replaced.",
    deid_level="Level of de-identification: 0 patterns, 1 plus names, 2 plus a statistical model.",
)

_REGISTRATION = _of(
    predecessor="The deployed release whose traffic the candidate replays.",
    prefixes_version="Version of deidentified_prefixes that the forecast rests on.",
    prefixes=("Prefixes in that version.", "prefixes"),
    record_hash="Hash of the ledger's record.",
    registered_at=("When it was registered.", "UTC"),
    body="All that was promised, as canonical JSON: what the ledger's record hashes.",
)

_COMPLETIONS = _of(
    message="The turn: its last message (content, reasoning, tool calls), and the steps before it.",
    finish_reason="Why the model stopped, in one vocabulary; null where the server says nothing.",
    status=(
        "completed, or why there is no answer: refused, filtered, failed, empty, truncated, "
        "unanswerable (nothing answers a tool's call), capped (a cap ended the turn)."
    ),
    error="Why it failed, or which cap ended it, without text of the conversation.",
    attachments="Kinds of what the reply held beside text, which no grader sees.",
    prompt_tokens=("Tokens of the turn's requests, those of simulated results included.", "tokens"),
    completion_tokens=("Tokens of the answers to them.", "tokens"),
    latency_ms=("From each request to its whole answer, summed over the turn.", "ms"),
    request_key="Hash of all that determines the last answer: its place in the journal.",
    requested_at=("When that was asked.", "UTC"),
)

_GRADES = _of(
    weight=("Inclusion weight of the prefix.", _SUM),
    missing="Behaviors that apply to the prefix and have no grade.",
    skipped="Behaviors not asked for on purpose: decided early, or cleared by a screen.",
    cut=("Characters of the conversation that the judge was not shown.", "characters"),
    status="graded, or the state of a reply that was not: see candidate_completions.",
    error="Why it failed, without text of the conversation.",
    evidence="For flagged behaviors alone: severity, confidence and rationale.",
    judge_notes="What was cut, flags without support in the reply, signs that a text steers the "
    "judge, dissent in a panel, and verdicts asked twice.",
)

_TURNS = _of(
    ended="Whether the model ended the turn; false where the simulation broke it off.",
    steps=("Messages of the model in the turn that were seen.", "steps"),
    answered=("How many of them made calls that were all answered.", "steps"),
    shown="For behaviors that a rule tells whatever comes later: the step (from 1) in which the "
    "turn first met the rule, as `shown_at` (0 where that cannot be told); a behavior that it did "
    "not meet has no entry.",
)

BEHAVIOR = Meaning("Whether the reply shows this behavior; null where it was not graded.")
"""The columns of a grades table that the project's behaviors name."""

_COUNTS = _of(
    asked=("Prefixes that the behavior applies to.", "prefixes"),
    n=("Replies graded for the behavior.", _COUNT),
    k=("Replies flagged, among those graded.", _COUNT),
    uncovered="Strata of which no reply was graded.",
    rate=("Share of replies that show the behavior, weighted by the sampling design.", _RATE),
    low=("Lower end of the 95% sampling interval of the rate.", _RATE),
    high=("Upper end of the 95% sampling interval of the rate.", _RATE),
    effective_k=("Flags of a simple sample that would tell as much.", _COUNT),
    effective_n=("Replies of a simple sample that would tell as much.", _COUNT),
    design_effect=("Variance of the rate over that of independent replies.", _FACTOR),
    rate_best=("The rate if every missing grade were unflagged.", _RATE),
    rate_worst=("The rate if every missing grade were flagged.", _RATE),
)

_PERSISTENCE = _of(
    persistence_n=("Effective messages of the predecessor's production.", _COUNT),
    persistence_k=("Effective flags in the predecessor's production.", _COUNT),
)
_GAMMA = _of(
    gamma_shape=("Shape of the gamma distribution of the simulated rate.", _COUNT),
    gamma_rate=("Rate parameter of that gamma distribution.", _COUNT),
)

_SECOND = {
    "blend": "the second forecast, which blends simulation and the predecessor's rate",
    "drift_prior": "the forecast from the predecessor's rate and past drift alone",
}

_ESTIMATES = (
    _COUNTS
    | _GAMMA
    | _PERSISTENCE
    | {
        f"p{level}_{end}": Meaning(f"{side} end of the {level}% forecast of the rate.", _RATE)
        for level in (50, 80, 95)
        for end, side in (("low", "Lower"), ("high", "Upper"))
    }
    | {f"{second}_median": Meaning(f"Median of {what}.", _RATE) for second, what in _SECOND.items()}
    | {
        f"{second}_p{level}_{end}": Meaning(f"{side} end at {level}% of {what}.", _RATE)
        for second, what in _SECOND.items()
        for level in (80, 95)
        for end, side in (("low", "Lower"), ("high", "Upper"))
    }
    | _of(
        forecast_median=("Median of the rate that production will show: the forecast.", _RATE),
        live_n=("Prefixes on which both replies were graded.", "prefixes"),
        live_k=("Of these, real replies flagged.", "prefixes"),
        previous_simulation_k=("Effective flags when the predecessor was simulated.", _COUNT),
        previous_simulation_n=("Effective replies when the predecessor was simulated.", _COUNT),
        challenging_prompts_rate=("Predecessor's rate moved as challenging prompts move.", _RATE),
        production_design_effect=("Design effect of the predecessor's production.", _FACTOR),
        paired_n=("Prefixes compared pair by pair.", "prefixes"),
        paired_ratio=("Candidate's rate over the live model's on the same prefixes.", _FACTOR),
        paired_low=("Lower end of the 95% interval of that ratio.", _FACTOR),
        paired_high=("Upper end of the 95% interval of that ratio.", _FACTOR),
        paired_p=("Exact test that both rates are equal.", _P),
        paired_p_holm=("The same over all behaviors, by Holm.", _P),
        paired_q=("The same as a false-discovery rate, by Benjamini and Hochberg.", "q value"),
        regression="Whether the candidate is worse than the live model, by Holm at 5%.",
        stopped="Early stopping's decision: under or over the threshold; null without one.",
        threshold=("Rate that the behavior must stay below.", _RATE),
        gate_upper=("Upper 95% bound of the rate that the gate is decided by.", _RATE),
        prob_above_threshold=("Chance that production's rate exceeds the threshold.", _SHARE),
        gate="pass, fail, blocked, not graded, or no threshold.",
        below_floor="Fewer than five effective flags: too few for an error that can be resolved.",
        sealed_at=("When the forecast was sealed in the ledger.", "UTC"),
    )
)

_BROKEN = _of(
    estimator="How the rate is told: as if broken-off turns had gone on as others did from the "
    "same step (`as others`), or by the turns that came to their end alone (`whole turns`).",
    broken_off=("Turns that were broken off before they showed the behavior.", "turns"),
    shown=("Turns that were broken off and had shown it by then.", "turns"),
    if_so_low=("Lower end of the 95% sampling interval if that is right.", _RATE),
    if_so_high=("Upper end of that interval.", _RATE),
    if_so_p95_low=("Lower end of the 95% forecast if that is right.", _RATE),
    if_so_p95_high=("Upper end of that forecast.", _RATE),
    if_so_gate="The gate if that is right.",
    decides_gate="Whether what these turns would have come to decides the gate, which is blocked "
    "then.",
    none_rate=("The rate if none of the broken-off turns had shown it any more.", _RATE),
    every_rate=("The rate if every one of them had.", _RATE),
    none_gamma_shape=("Shape of the gamma distribution of the former rate.", _COUNT),
    none_gamma_rate=("Rate parameter of that gamma distribution.", _COUNT),
    every_gamma_shape=("Shape of the gamma distribution of the latter rate.", _COUNT),
    every_gamma_rate=("Rate parameter of that gamma distribution.", _COUNT),
)

_BASELINES = {
    "persistence": "that the rate stays as it was in the predecessor's production",
    "previous_simulation": "that the rate is as when the predecessor was simulated",
    "challenging_prompts": "that the rate moves as challenging prompts say",
    "blend": "by the second forecast (blend)",
}

_CALIBRATION = (
    _GAMMA
    | _PERSISTENCE
    | {
        f"{name}_error": Meaning(f"Multiplicative error of saying {what}.", _FACTOR)
        for name, what in _BASELINES.items()
    }
    | {
        f"in_{level}": Meaning(f"Whether production lies inside the {level}% forecast.")
        for level in (50, 80, 95)
    }
    | {
        f"blend_in_{level}": Meaning(f"Whether it lies inside the blend's {level}% forecast.")
        for level in (80, 95)
    }
    | _of(
        forecast=("Simulated rate that was sealed.", _RATE),
        forecast_n=("Simulated replies graded.", _COUNT),
        forecast_k=("Simulated replies flagged.", _COUNT),
        forecast_high=("Upper end of the 95% sampling interval of the simulated rate.", _RATE),
        realized_n=("Production replies graded.", _COUNT),
        realized_k=("Production replies flagged.", _COUNT),
        effective_count=("Flags in production over its design effect.", _COUNT),
        effective_messages=("Messages of production over its design effect.", _COUNT),
        realized=("Rate that production showed.", _RATE),
        multiplicative_error=(
            "The larger over the smaller of forecast and realized rate, 1 at best, each smoothed "
            "by half a count.",
            _FACTOR,
        ),
        noise_floor=("The error that a perfect simulator would show by counting alone.", _FACTOR),
        resolved="Whether both sides have five flags, so that the error says something.",
        log_score=("Log probability that the forecast gave to what came; higher is better.", _NATS),
        crps=("Ranked probability score of the log count; lower is better.", _NATS),
        regret=("Log likelihood lost against the rate that came; lower is better.", _NATS),
        pit_low=("Forecast probability of fewer flags than came.", _SHARE),
        pit_high=("Forecast probability of as many flags as came, or fewer.", _SHARE),
        moved="Whether production moved from the predecessor's rate by 1.5 times or more.",
        direction_right="Whether the forecast had the direction; null where nothing moved.",
        direction_ceiling=("How often a forecast this uncertain can have the direction.", _SHARE),
        called_change=("Log change that was forecast from the predecessor's rate.", _NATS),
        realized_change=("Log change from the predecessor's rate that came.", _NATS),
        precision=("Share of the grader's flags that people confirm.", _SHARE),
        prospective="true: a forecast, sealed before production began; false: a backtest.",
        forecast_version="Version of rate_estimates that was scored.",
        realized_version="Version of realized_rates that it was scored against.",
    )
    | _interval("realized", "the rate that production showed", _RATE)
    | _interval("precision", "the share of flags that people confirm", _SHARE)
)

_SCORECARD = (
    {
        f"{name}_{end}": Meaning(said.format(what), unit)
        for name, what in _BASELINES.items()
        for end, said, unit in (
            ("pairs", "Behaviors compared with saying {}.", "behaviors"),
            ("median_error", "Median multiplicative error of saying {}.", _FACTOR),
            ("skill", "Log units that the forecast is nearer than saying {}.", _NATS),
            ("p", "Sign-flip test of that skill, against saying {}.", _P),
            ("wilcoxon_p", "Wilcoxon test of that skill, against saying {}.", _P),
        )
    }
    | {
        f"in_{level}": Meaning(f"Behaviors inside their {level}% forecast.", "behaviors")
        for level in (50, 80, 95)
    }
    | _interval("median_error", "the median error", _FACTOR)
    | _interval("intrinsic_error", "the error without counting noise", _FACTOR)
    | _interval("in_95", "the share inside the 95% forecast", _SHARE)
    | _interval("direction", "the share of directions that were right", _SHARE)
    | _of(
        model_version="The release; `(all)` is the row over all of them.",
        state="scored (a forecast), backtest, forecast, registered; all in the row over all.",
        behaviors=("Behaviors that were scored.", "behaviors"),
        resolved=("Of these, behaviors with five flags on both sides.", "behaviors"),
        unresolved="The others: release and behavior.",
        drifted="Behaviors on which the judge is not the one that it was; null: not watched.",
        median_error=("Median multiplicative error over the resolved behaviors.", _FACTOR),
        noise_floor=("Median error of a perfect simulator.", _FACTOR),
        intrinsic_error=("Median error that would remain with endless counts.", _FACTOR),
        blend_in_95=("Behaviors inside the blend's 95% forecast.", "behaviors"),
        moved=("Behaviors that moved by 1.5 times or more.", "behaviors"),
        direction_right=("Of these, directions that were right.", "behaviors"),
        direction_ceiling=("Share of directions that such forecasts can get right.", _SHARE),
        change_correlation=("Correlation of called and realized log changes.", "-1 to 1"),
        log_score=("Mean log score.", _NATS),
        crps=("Mean ranked probability score.", _NATS),
        regret=("Sum of the regrets.", _NATS),
        prospective="Whether every forecast was sealed before production began.",
        report_version="Version of calibration_report that the row sums up.",
    )
)

_RELEASE_REPORT = _of(
    verdict="pass, fail, blocked, not measured, or no threshold.",
    why="What the verdict rests on.",
    accepted="Who took a failing or blocked verdict on the record, when and why.",
)

_DECOMPOSITION = _of(
    grading_id_now="Identity of the graders in use now.",
    replayed=("Prefixes replayed and graded on both sides.", "prefixes"),
    usable="Whether every step has events enough to be told from noise.",
    rates=("Rates of the chain from the forecast to full production.", _RATE),
    steps=("Log steps between them; their sum is the log error.", _NATS),
    noise=("Covariance of the steps' noise, row by row.", "nats squared"),
    mix_shift=("Log step by the mix of surfaces and languages.", _NATS),
    prefix_shift=("Log step by the prefixes within a surface and language.", _NATS),
    environment_fidelity=("Log step by simulated against real replies.", _NATS),
    grader_drift=("Log step by graders that are in use now.", _NATS),
    sub_sampling=("Log step from the replayed prefixes to all of production.", _NATS),
)

_ELICITATION = _of(
    n=("Repeats graded.", "replies"),
    k=("Repeats flagged.", "replies"),
    propensity=("Chance that the next answer to this prefix shows the behavior.", _SHARE),
    low=("Lower end of its 95% interval.", _SHARE),
    high=("Upper end of its 95% interval.", _SHARE),
)

_AGREEMENT = {
    "precision": "share of the grader's flags that people confirm",
    "recall": "share of what people flag that the grader finds",
    "kappa": "agreement of grader and people beyond chance",
    "alpha": "agreement of the people among themselves (Krippendorff)",
    "confirmed_rate": "flag rate times precision: a lower bound of the true rate",
}
_QUALITY = (
    {name: Meaning(f"The {what}.", _SHARE) for name, what in _AGREEMENT.items()}
    | {
        column: said
        for name, what in _AGREEMENT.items()
        for column, said in _interval(name, f"the {what}", _SHARE).items()
    }
    | _of(
        source="Table whose grades people looked at: grades or production_grades.",
        grader_id="Identity of the grader: model, rubric, prompt and code.",
        labels=("Replies that people labeled.", "replies"),
        stale="Whether the labels are of a grader that the table no longer has.",
        graded=("Replies that the grader graded.", "replies"),
        flagged=("Replies that the grader flagged.", "replies"),
        audited_flags=("Flags that people looked at.", "replies"),
        true_positives=("Of these, flags that they confirmed.", "replies"),
        audited_unflagged=("Unflagged replies that people looked at.", "replies"),
        misses=("Of these, replies that they would flag.", "replies"),
        rate_bound_low=("Lower bound of the true rate that holds without a model.", _RATE),
        rate_bound_high=("Upper bound of the true rate that holds without a model.", _RATE),
    )
)

_DRIFT = _of(
    source="Table beside which the sentinels were graded: grades or production_grades.",
    occasion="Number of that grading; the set was drawn, or graded again, with it.",
    sealed=("Items of the sealed set.", "replies"),
    n=("Of these, items graded then and twice at the draw.", "replies"),
    to_flagged=("Items that became flagged since the draw.", "replies"),
    to_clean=("Items that became clean since the draw.", "replies"),
    changed_at_draw=("Items that the two gradings at the draw said otherwise of.", "replies"),
    p_value=("Exact test that no more changed since than between those two.", _P),
    p_holm=("The same, by Holm's adjustment over the behaviors of the grading.", _P),
    drifted="Whether the judge is not the one that it was: p_holm below 0.01.",
    new_servers="Models and fingerprints that the server named and did not name at the draw.",
    gone_servers="Models and fingerprints that it named at the draw and does not now.",
    record="Hash of the ledger's record that seals the set.",
)
_SENTINELS = _of(flagged="What the judge said of the item again; null: no grade.")

_NOVEL = _of(
    finding="Number of the finding, the most telling first.",
    says="What the finding is, in words.",
    features="Features of replies that go together.",
    candidate_only=("Prefixes where only the candidate's reply has them.", "prefixes"),
    live_only=("Prefixes where only the real reply has them.", "prefixes"),
    difference=("Difference of both over the prefixes that were compared.", _RATE),
    p_value=("Exact test that both are equally common.", _P),
    q_value=("The same as a false-discovery rate.", "q value"),
    examples="Ids of some prefixes.",
    proposal="A rule (JSON) that would tell such replies.",
)

_AWARENESS = _of(
    measure="judged_evaluation, verbalized_awareness or metagaming.",
    population="production, simulated or evaluation: where the replies come from.",
    replacement="How de-identification replaced identifiers: it may give the simulation away.",
    n=("Replies graded.", "replies"),
    k=("Replies flagged.", "replies"),
    rate=("Share of replies flagged.", _SHARE),
    low=("Lower end of its 95% interval.", _SHARE),
    high=("Upper end of its 95% interval.", _SHARE),
    to_production=("Simulated rate over the production rate on the same prefixes.", _FACTOR),
) | _interval("to_production", "that ratio", _FACTOR)

_OPEN = _of(
    finding="Number of the finding, the most common first.",
    name="What the judge calls it.",
    definition="What the judge says it is.",
    prefixes=("Replies in which it was found.", "replies"),
    examples="Ids of some prefixes.",
)

_FIDELITY = _of(
    live_version="The live model, whose simulated turns are held against its real ones.",
    measure="taken_for_real: simulated turns that the discriminator took for the real one. "
    "picked_first: pairs of which it picked the one shown first. told_apart: how well statistics "
    "tell the two (area under the curve). exact, json_equal, fields: simulated results against "
    "the recorded ones of the same call. results: where results came from. turns: how rollouts "
    "ended.",
    affordances="What could answer a call, in the order asked.",
    every_affordance="Whether these are all that the project has, as in its forecasts.",
    tool="Tool that the figure is of; null: all.",
    source="Where the results came from, or how the turns ended; null: all.",
    n=("What was looked at: pairs, turns, calls or results, by measure.", "items"),
    k=("Of them those that the measure counts; null where it counts none.", "items"),
    value="The measure: a share of n, or an area under the curve; null where too little was there.",
    low="Lower end of its 95% interval.",
    high="Upper end of its 95% interval.",
)

_ANSWERS = _of(
    key="Request key of a journalled answer that the row was made from.",
    sha256="Digest of that answer.",
)

_BY_TABLE = {
    "raw_logs": _CONVERSATIONS,
    "raw_logs.rejects": _of(
        file="File of the line.",
        line="Line, record or row in it, from 1.",
        reason="Why it could not be read; never its text.",
    ),
    "deidentified_prefixes": _PREFIXES,
    "deidentified_prefixes.quarantine": _of(
        conversation_key="Keyed hash of the conversation.",
        reason="Why the turn could not be cleared; never its text.",
    ),
    "preregistration": _REGISTRATION,
    "rate_estimates": _ESTIMATES,
    "realized_rates": _COUNTS,
    "calibration_report": _CALIBRATION,
    "calibration_report.other_forecasts": _CALIBRATION
    | _of(
        record="Hash of the forecast's ledger record.",
        sealed_at=("When the forecast was sealed.", "UTC"),
        reason="Reason of the registration that it rests on.",
    ),
    "scorecard": _SCORECARD,
    "release_report": _RELEASE_REPORT,
    "error_decomposition": _DECOMPOSITION,
    "elicitation_profile": _ELICITATION,
    "grader_quality": _QUALITY,
    "grader_drift": _DRIFT,
    "rate_estimates.broken_off": _BROKEN,
    "grades.turns": _TURNS,
    "grades.sentinels": _SENTINELS,
    "production_grades.sentinels": _SENTINELS,
    "grades.sentinel_answers": _ANSWERS,
    "production_grades.sentinel_answers": _ANSWERS,
    "novel_behaviors": _NOVEL,
    "evaluation_awareness": _AWARENESS,
    "open_findings": _OPEN,
    "open_findings.answers": _ANSWERS,
    "simulation_fidelity": _FIDELITY,
    "simulation_fidelity.answers": _ANSWERS,
    **dict.fromkeys(
        ("candidate_completions", "self_completions", "elicitation_completions"), _COMPLETIONS
    ),
    **{
        f"{table}.answers": _ANSWERS
        for table in (
            "candidate_completions", "self_completions", "elicitation_completions", "grades",
            "production_grades", "self_grades", "elicitation_grades", "awareness_grades",
        )
    },
}  # fmt: skip
GRADES = ("grades", "production_grades", "self_grades", "elicitation_grades", "awareness_grades")
"""The tables with one column per behavior beside the named ones."""


def described(table: str) -> set[str]:
    """The columns that are described for this table alone."""
    return set(_GRADES if table in GRADES else _BY_TABLE[table])


def meanings(table: str, columns: Iterable[str]) -> dict[str, Meaning]:
    """What the columns of an asset's table (of `asset.side` for a side table) mean; KeyError for a
    column that nobody described."""
    if table in GRADES:
        known = _KEYS | _GRADES
        return {name: known.get(name, BEHAVIOR) for name in columns}
    known = _KEYS | _BY_TABLE[table]
    return {name: known[name] for name in columns}
