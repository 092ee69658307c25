"""`deploysim gate`: whether a release may ship, for scripts: one verdict, an exit code and a line
per behavior."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from deploysim_assets.cli.running import plain, show_json, with_home

if TYPE_CHECKING:
    from deploysim_assets.assets.registration import Registration
    from deploysim_assets.cli.home import Home
    from deploysim_assets.storage.ledger import Record

Word = Literal["pass", "fail", "blocked", "not measured", "seal broken"]
EXIT_CODES: dict[Word, int] = {
    "pass": 0,
    "fail": 1,
    "blocked": 2,
    "not measured": 3,
    "seal broken": 4,
}
_WORST_FIRST: tuple[Word, ...] = ("fail", "blocked", "not measured")
_NOT_GRADED = "not graded"


class Reason(NamedTuple):
    """What one behavior (or, without a name, the whole forecast) says, and why."""

    behavior: str
    gate: Word
    why: str
    accepted: dict[str, Any] | None = None


class Verdict(NamedTuple):
    """The worst that stands. An accepted fail or block does not count."""

    word: Word
    reasons: list[Reason]
    notes: list[str]


def verdict(home: "Home", model: str) -> Verdict:
    """The gate of a release by its sealed forecast. ProjectError for a release that is not in the
    registry."""
    from deploysim_assets.assets.home_audit import refuse_broken_seals
    from deploysim_assets.project import SealError

    home.project.release(model)
    try:
        refuse_broken_seals(home.project, home.lake, model)
        reasons, notes = _of_forecast(home, model)
    except SealError as broken:
        return Verdict("seal broken", [Reason("", "seal broken", str(broken))], [])
    for word in _WORST_FIRST:
        if any(reason.gate == word and not reason.accepted for reason in reasons):
            return Verdict(word, reasons, notes)
    return Verdict("pass", reasons, notes)


def _of_forecast(home: "Home", model: str) -> tuple[list[Reason], list[str]]:
    from deploysim_assets.assets.registration import Registration
    from deploysim_assets.assets.reply_funnel import reply_funnel
    from deploysim_assets.assets.shown_forecast import ShownForecast
    from deploysim_assets.storage import ledger

    project, lake = home.project, home.lake.held()
    records = ledger.read(project.home)
    shown = ShownForecast.of(lake, model, records)
    if shown.record is None or shown.registration is None:
        return [Reason("", "not measured", _never_forecast(home, model))], []
    newest = Registration.load(lake, model)
    if not shown.scored and shown.registration.record_hash != newest.record_hash:
        why = f"it was registered anew since its forecast; run `deploysim forecast {model}`"
        return [Reason("", "not measured", why)], []
    funnel = reply_funnel(lake, shown.registration, shown.record)
    shown.judge(lake, model, project.min_precision, funnel)
    accepted = shown.accepted(records)
    reasons = [
        _of_row(row, accepted.get(row["behavior"]))
        for row in shown.rows
        if row["gate"] != "no threshold"
    ]
    reasons += _unmeasured(home, shown.registration)
    if not reasons:
        reasons = [Reason("", "not measured", "no behavior has a threshold_per_100k to pass")]
    notes = list(_moved(home, shown.registration))
    made_under = shown.min_precision(lake, model)
    if made_under is not None and made_under > project.min_precision:
        notes.append(
            f"min_precision: the forecast was made under {made_under:g}, now "
            f"{project.min_precision:g}; the gate goes by the higher one"
        )
    others = funnel.get("simulated", {}).get("served_by_others", {})
    notes += [f"the server says that {name} answered {n:,} requests" for name, n in others.items()]
    return reasons, notes


def _of_row(row: dict[str, Any], accepted: "Record | None") -> Reason:
    by = accepted.body | {"at": accepted.at.isoformat()} if accepted else None
    if row["gate"] == _NOT_GRADED:
        return Reason(row["behavior"], "not measured", "no reply was graded for it")
    if row["gate"] == "blocked":
        why = row["blocked_by"] or "the measurement cannot carry a verdict"
        return Reason(row["behavior"], "blocked", why, by)
    bound, threshold = row["gate_upper"] * 1e5, row["threshold"] * 1e5
    why = (
        f"at most {bound:,.1f} per 100,000 with 95% confidence, threshold {threshold:,.1f}; above "
        f"it in production with probability {row['prob_above_threshold']:.3f}"
    )
    return Reason(row["behavior"], row["gate"], why, by)


def _never_forecast(home: "Home", model: str) -> str:
    if home.project.release(model).predecessor is None:
        return "it has no predecessor, so there is no forecast of it"
    return f"there is no forecast of it yet; run `deploysim forecast {model}`"


def _unmeasured(home: "Home", registered: "Registration") -> Iterator[Reason]:
    """Behaviors that have a threshold now and were not among those registered."""
    known = {b.name for b in registered.panel.behaviors}
    for behavior in home.project.behaviors:
        if behavior.threshold_per_100k and behavior.name not in known:
            yield Reason(
                behavior.name,
                "not measured",
                "it has a threshold, but was not registered; "
                f"run `deploysim register {registered.model_version} --reason ...`",
            )


def _moved(home: "Home", registered: "Registration") -> Iterator[str]:
    """Thresholds that are others now than those that the gate was registered with."""
    now = {b.name: b.threshold_per_100k for b in home.project.behaviors}
    for behavior in registered.panel.behaviors:
        was, is_now = behavior.threshold_per_100k, now.get(behavior.name)
        if was != is_now:
            yield (
                f"{behavior.name}: registered with a threshold of {was or 'none'}, now "
                f"{is_now or 'none'}; the gate goes by the registered one"
            )


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON.")
@with_home
def gate(home: "Home", model: str, *, as_json: bool) -> None:
    """Whether MODEL may ship, by its sealed forecast.

    Exit code 0 pass, 1 fail, 2 blocked, 3 not measured, 4 seal broken. The worst counts: a seal
    before a fail, a fail before a block, a block before what was not measured. A fail or block that
    a person has accepted (`deploysim accept`) counts as passed.

    Example: deploysim gate gpt-4-0613 && ./ship.sh
    """
    found = verdict(home, model)
    code = EXIT_CODES[found.word]
    if as_json:
        reasons = [reason._asdict() for reason in found.reasons]
        show_json(
            {
                "model_version": model,
                "verdict": found.word,
                "exit_code": code,
                "reasons": reasons,
                "notes": found.notes,
            }
        )
    else:
        click.echo(f"{model}: {found.word}")
        for reason in found.reasons:
            named = f"{reason.behavior}: " if reason.behavior else ""
            why = f"{named}{reason.why}{_by(reason)}"
            lines = why.splitlines() if reason.gate == "seal broken" else [why]
            click.echo("\n".join(f"{reason.gate:12}  {plain(line)}" for line in lines))
        for note in found.notes:
            click.echo(f"note          {note}")
    if code:
        raise click.exceptions.Exit(code)


def _by(reason: Reason) -> str:
    if reason.accepted is None:
        return ""
    said = reason.accepted
    return f"; accepted by {said['by']} on {said['at'][:10]}: {said['reason']}"
