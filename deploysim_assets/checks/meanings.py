"""What each check says, what failing means, and what to do: its description in Dagster's UI."""

from typing import NamedTuple


class Said(NamedTuple):
    """The text of a check in three parts."""

    holds: str
    failing: str
    mend: str

    def __str__(self) -> str:
        return f"{self.holds}\n\n**Failing means** {self.failing}\n\n**What to do:** {self.mend}"


_CORPUS = "correct the log files, or take them out of `logs.path`, and materialize raw_logs again."
_REDRAW = "run `deploysim audit ledger`; if it holds, report a defect of deploysim with the counts."
_CLEAR = (
    "do not use the table: it is not cleared. Look at the prefixes that the check names, raise "
    "`deidentification.min_level` or report the kind of text, and materialize again."
)

_RAW_LOGS = {
    "funnel_sums": Said(
        "Records read = rejected + conversations, and the table has as many rows.",
        "that conversations were lost between the files and the table.",
        "materialize raw_logs again; if it fails again, report a defect of deploysim with the "
        "counts.",
    ),
    "conversation_ids_unique": Said(
        "No conversation stands twice.",
        "that a conversation would count twice in every rate.",
        _CORPUS,
    ),
    "one_model_version": Said(
        "All rows are of this release.",
        "that traffic of another release is in the table.",
        _CORPUS,
    ),
    "conversations_have_messages": Said(
        "Every conversation has a message.",
        "that the source writes conversations that nothing can be learned from, or was misread.",
        "check `logs.format` of the release; else correct the log files.",
    ),
    "not_from_the_future": Said(
        "No conversation began later than now. A warning.",
        "that a clock or a time zone of the source is wrong; whether a forecast came before "
        "production is told by these times.",
        "correct the times in the source. The table can be used where times do not matter.",
    ),
    "inside_the_release_window": Said(
        "Every conversation lies between `logs.since` and `logs.until` of the release.",
        "that conversations were not answered by this release, or that the window is wrong.",
        "take those conversations out of the logs, or correct the window in deploysim.yaml.",
    ),
    "roles_alternate": Said(
        "In 9 of 10 conversations no user message follows on another. A warning.",
        "that replies are missing in the logs: rates are then over the replies that were logged.",
        "ask the owner of the logs whether replies are dropped or logged elsewhere.",
    ),
    "lengths_plausible": Said(
        "99 of 100 conversations hold text. A warning.",
        "that the source logs empty messages, or that their content was misread.",
        "check `logs.format` of the release against a line of the file.",
    ),
    "conversations_shipped_once": Said(
        "99 of 100 conversations that carry a time say what none before them said at that time. "
        "A warning.",
        "that a log was shipped twice, under other ids or in another format: each conversation "
        "counts twice, and every interval is too narrow.",
        "take one of the two out of `logs.path` (the check names lines of the second), and "
        "materialize raw_logs again.",
    ),
    "consent_known": Said(
        "Half of the conversations say whether they may be used. A warning.",
        "that most traffic is left out, since unknown is not consent: what remains may not be "
        "like all of it.",
        "log consent, or state in `logs.consent_basis` why all of the source may be used.",
    ),
    "like_the_release_before": Said(
        "Surfaces and languages are distributed much as in the release before. A warning.",
        "that traffic has changed: a forecast rests on the predecessor's traffic, and is weaker "
        "where traffic moved.",
        "look which surface or language moved; read the score with that in mind.",
    ),
    "tools_are_replayed": Said(
        "No conversation has tools, or the project replays agents. A warning.",
        "that turns with tools are asked once, like chat: the forecast is one of their first "
        "messages, and nothing that happens after a call is in it.",
        "write `agents: {}` into deploysim.yaml, so that such turns are done again call by call.",
    ),
}
_PREFIXES = {
    "funnel_sums": Said(
        "Conversations = eligible + ineligible, drawn = released + quarantined, and the table has "
        "as many rows.",
        "that turns were lost or made up while they were drawn and cleared.",
        "materialize deidentified_prefixes again; if it fails again, report a defect of deploysim "
        "with the counts.",
    ),
    "canary_recall": Said(
        "Planted identifiers of every type, script and container were found by the scrubber as it "
        "was installed where the table was made; the bound is the lower end of the 95% interval "
        "over all of them.",
        "that de-identification does not work on this machine: a library changed, or a model is "
        "missing.",
        "do not use the table. Run `deploysim audit deid`, which says which kinds were "
        "missed; install the pinned libraries, and materialize again.",
    ),
    "answered_by_one_release": Said(
        "No turn stands among the drawn turns of another release, too. A warning.",
        "that one reply is counted as that of two releases: a score would hold the traffic of a "
        "release against itself.",
        "give each release its own logs (`logs.path`, `logs.since`, `logs.until`), or have them "
        "say which model answered; materialize raw_logs of both again.",
    ),
    "prefix_ids_unique": Said("No prefix stands twice.", "that a turn would count twice.", _REDRAW),
    "last_turn_is_the_users": Said(
        "Every prefix ends with a message of the user.",
        "that the candidate would be asked to answer itself.",
        _REDRAW,
    ),
    "has_production_reply": Said(
        "Every prefix has the reply that the deployed model gave.",
        "that candidate and deployed model could not be compared on the same prefixes.",
        _REDRAW,
    ),
    "consent_is_true": Said(
        "Every prefix is of a conversation with consent.",
        "that text is used without consent.",
        "do not use the table. " + _REDRAW.capitalize(),
    ),
    "no_residual_mailbox": Said(
        "No mail address is left in a prefix, by another engine than the detectors'.",
        "that an identifier of a person came through de-identification.",
        _CLEAR,
    ),
    "no_residual_secret": Said(
        "No access key is left in a prefix, by another engine than the detectors'.",
        "that a secret came through de-identification.",
        _CLEAR + " Tell the owner of the key.",
    ),
    "has_prefixes": Said(
        "At least one turn was drawn and cleared.",
        "that there is nothing to forecast from.",
        "look at `ineligible_by_reason` and `quarantined_by_reason` of the table's metadata: "
        "mostly consent, language or de-identification.",
    ),
}
_WHOLE = Said(
    "Few replies are empty or cut, and few turns of agents unanswerable or capped; the limits are "
    "`grading.warn_share` and `grading.error_share`.",
    "that rates are over the replies that happened to come. Above the error limit all gates of "
    "the forecast are blocked; turns of agents that were broken off widen its limits instead.",
    "raise `max_tokens` of the candidate, or ask the provider why replies end early, or give an "
    "agent's tools what answers them (`deploysim guide agents`); then "
    "`deploysim forecast <release> --fresh`.",
)
_SOUND = Said(
    "Few replies show signs that their text tries to steer the judge (1%), and few flags quote "
    "words that stand nowhere in what was graded (10%). A warning.",
    "that the judge may have been led, or makes things up.",
    "look at the rows whose `judge_notes.steers` or `judge_notes.unsupported` is set, and label "
    "them: `deploysim audit graders draw`.",
)
_SAID: dict[tuple[str, str], Said] = {
    **{("raw_logs", name): said for name, said in _RAW_LOGS.items()},
    **{("deidentified_prefixes", name): said for name, said in _PREFIXES.items()},
    ("candidate_completions", "replies_are_whole"): _WHOLE,
    ("production_grades", "replies_are_whole"): _WHOLE._replace(
        mend="ask the owner of the logs whether replies are cut when they are logged.",
    ),
    ("grades", "judgements_are_sound"): _SOUND,
    ("production_grades", "judgements_are_sound"): _SOUND,
    ("grader_drift", "grader_is_the_same"): Said(
        "Of the sealed sentinels no more verdicts changed since the draw than between two gradings "
        "at it: exact test, 1% over all behaviors. A warning.",
        "that the provider changed the judge under its name: what was graded before and after is "
        "not comparable, though rubric, prompt and model are the same.",
        "do not read the scores that the report marks as errors of the forecast. Ask the provider "
        "what changed, pin a dated model, and register again with a reason.",
    ),
    ("simulation_fidelity", "turns_look_real"): Said(
        "Statistics of a turn (calls, lengths, errors, sequences of tools) tell simulated turns of "
        "the live model from its real ones no better than with an area under the curve of 0.7. A "
        "warning.",
        "that the simulation answers calls otherwise than the real tools do, in ways that a count "
        "shows: the candidate reacted to a world that its users will not meet, so that rates of "
        "behaviors which depend on results may be off by more than the forecast's interval.",
        "look in the table which tools and sources agree least with the recorded results, and "
        "give those tools another affordance: a function, the repository, a connector. Then "
        "materialize self_completions and simulation_fidelity again.",
    ),
    ("rate_estimates", "rests_on_whole_turns"): Said(
        "Turns that the simulation broke off (no answer to a call, a cap) before they showed a "
        "behavior cannot hide more of it than the 95% sampling interval holds, and decide no gate. "
        "A warning.",
        "that the forecast's limits are wide, or a gate is blocked, for want of answers to calls "
        "and not for want of traffic: rates between rest on turns being broken off whatever they "
        "would have done next.",
        "look in the errors of candidate_completions which tools nothing "
        "answers; give them a function, a connector or a simulator's model, or raise "
        "`agents.caps`. Then register and forecast again.",
    ),
    ("grades", "funnel_sums"): Said(
        "Every registered prefix is graded, or counted as refused, filtered, failed, empty or cut.",
        "that prefixes were lost between registration and grades: a rate would be over what is "
        "left.",
        "materialize grades again, which pays for nothing twice; if it fails again, report a "
        "defect of deploysim with the counts.",
    ),
    ("calibration_report", "forecast_before_production"): Said(
        "The forecast was sealed before the first production message. A warning.",
        "that the score is of a backtest: it tells of the method, not of a promise that was kept.",
        "nothing can be done for this release; seal the next forecast before it ships.",
    ),
    ("raw_logs", "logs_keep_coming"): Said(
        "The logs of the release that is deployed now have grown within `freshness.logs_days`. A "
        "warning.",
        "that logging or its transfer has stopped, or that the daemon does not run: realized "
        "rates stand still while the release is in use.",
        "look after the transfer of the logs and after `dagster-daemon`. If the release was "
        "withdrawn, set `logs.until`.",
    ),
    ("rate_estimates", "forecast_is_recent"): Said(
        "The forecast of a release that has not shipped is not older than its predecessor's "
        "prefixes by more than `freshness.forecast_days`. A warning.",
        "that newer traffic has come since the forecast was sealed, which it does not know.",
        "`deploysim register <release> --reason ...` and `deploysim forecast <release>` before it "
        "ships, or ship with the older forecast knowingly.",
    ),
}


def sql_test(model: str, holds: str) -> str:
    """The description of a data test of a SQL model, of which this holds."""
    return str(
        Said(
            f"{holds}.",
            "that the counts below the rates are wrong, and every figure that rests on them.",
            f"run `deploysim audit ledger`; materialize the tables that {model} reads, then it. "
            "If it fails again, report a defect of deploysim with `failing_rows`.",
        )
    )


def description(asset: str, check: str) -> str:
    """The description of a check; KeyError for one that nobody described."""
    return str(_SAID[asset, check])
