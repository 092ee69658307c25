"""simulation_fidelity: how far simulated turns of the live model's agents are like its real ones,
before any forecast of a candidate is believed.

There where the project replays agents, and a deployed model on its own traffic (`agents` and
`self_replay` in deploysim.yaml): neither model nor traffic moves, so what differs is the
simulation.
"""

import heapq
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from deploysim_assets.agents.agreement import answered
from deploysim_assets.agents.discriminator import (
    Pair,
    picked,
    real_is_first,
    request,
    taken_for_real,
)
from deploysim_assets.agents.rollout import PREFIX_COLUMNS, follow_up
from deploysim_assets.assets.endpoint_run import EndpointRun
from deploysim_assets.assets.fidelity_rows import (
    Replayed,
    Row,
    Verdict,
    ablations,
    discriminator_rows,
    name_of,
    named_tools,
    result_rows,
    statistics_row,
)
from deploysim_assets.assets.registration import Registration
from deploysim_assets.assets.rolling_out import Turns
from deploysim_assets.assets.self_replay import live_settings
from deploysim_assets.automation import ONCE
from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.batches import BatchesPendingError
from deploysim_assets.endpoint.budget import costs, open_account
from deploysim_assets.endpoint.client import Outcome
from deploysim_assets.endpoint.wire import Request, request_key
from deploysim_assets.io_manager import finding, making, table_result
from deploysim_assets.project import Agents, Endpoint, Project
from deploysim_assets.releases import CANDIDATES, FROM_PREDECESSOR
from deploysim_assets.runs import ENDPOINT
from deploysim_assets.schema import (
    SIMULATION_FIDELITY,
    TAKEN_ANSWERS,
    is_agentic,
    reply_state,
    separated,
)
from deploysim_assets.storage.journal import Journal, open_journal
from deploysim_assets.storage.tables import ANSWERS, Lake


def _real(prefix: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The real turn of an agent's prefix, where it is a whole one."""
    real = separated(prefix["production_completion"])
    return real if is_agentic(prefix) and reply_state(real) == "completed" else None


def _replayed(prefix: Mapping[str, Any], row: Mapping[str, Any]) -> Replayed | None:
    real = _real(prefix)
    if real is None:
        return None
    return Replayed(
        prefix["prefix_id"],
        prefix["conversation_key"],
        prefix["messages"],
        real,
        row["message"],
        row["status"],
    )


def _simulated_alike(one: Agents, other: Agents) -> bool:
    """Whether calls are answered by the same under both settings."""
    return one.model_copy(update={"discriminator": other.discriminator}) == other


class _Told(NamedTuple):
    """Who tells real from simulated turns: the model, its parameters, and where it is asked."""

    model: str
    params: Mapping[str, Any]
    endpoint: Endpoint

    @classmethod
    def by(cls, project: Project) -> "_Told | None":
        assert project.agents is not None
        own, judge = project.agents.discriminator.model, project.judge
        if judge is not None:
            return cls(own or judge.members[0], judge.params, project.judge_endpoint())
        return cls(own, {"temperature": 0}, project.endpoint) if own else None


def endpoints(project: Project) -> tuple[Endpoint, ...]:
    """Where the live model is asked, and where its discriminator is."""
    told = _Told.by(project)
    return (project.endpoint, *((told.endpoint,) if told else ()))


class _Measuring:
    """One run: the replayed turns of the live model, and what is asked about them."""

    def __init__(self, context: dg.AssetExecutionContext, lake: Lake, project: Project) -> None:
        assert project.agents is not None
        self.lake, self.project, self.agents = lake, project, project.agents
        self.paid = EndpointRun(context, lake, project)
        self.log = context.log.info
        self.live = project.predecessor(context.partition_key)
        self.version: str = lake.stats("self_completions", self.live)["prefixes_version"]
        self.asked_as, self.seed = live_settings(project, lake, self.live)
        self.outcome, self.taken = Outcome(), list[dict[str, str]]()
        self.too_long, self.names = 0, dict[str, str]()

    def prefixes(self) -> Iterator[dict[str, Any]]:
        return self.lake.rows("deidentified_prefixes", self.live, self.version, PREFIX_COLUMNS)

    def self_replayed(self) -> list[Replayed]:
        """The sample of agents' turns that self_completions replayed, those of lowest id."""
        replies = {
            row["prefix_id"]: row
            for row in self.lake.rows(
                "self_completions", self.live, columns=["prefix_id", "message", "status"]
            )
        }
        found = (
            pair
            for prefix in self.prefixes()
            if (row := replies.get(prefix["prefix_id"])) is not None
            and (pair := _replayed(prefix, row)) is not None
        )
        sample = self.agents.discriminator.sample
        return heapq.nsmallest(sample, found, key=lambda pair: pair.prefix_id)

    def rolled_out(
        self, agents: Agents, chosen: frozenset[str], journal: Journal
    ) -> list[Replayed]:
        """The chosen prefixes replayed under other settings."""
        turns = Turns(
            self.project, self.lake, agents, self.asked_as, self.seed, (self.live, self.version)
        )

        def prefixes() -> Iterator[dict[str, Any]]:
            return (p for p in self.prefixes() if p["prefix_id"] in chosen)

        self._add(
            ask(
                lambda: map(turns.first_request, prefixes()),
                self.project.endpoint,
                journal,
                self.paid.journal,
                follow_up,
                account=open_account(self.project),
                log=self.log,
            )
        )
        journal.taken()  # what the client read while it asked is of no row
        found: list[Replayed] = []
        for prefix in prefixes():
            row = turns.row(prefix, self.live, journal, self.outcome.failures)
            self._take(prefix["prefix_id"], journal)
            if (pair := _replayed(prefix, row)) is not None:
                found.append(pair)
        return found

    def judged(
        self, pairs: list[Replayed], name: str, told: _Told, journal: Journal
    ) -> list[Verdict]:
        """What the discriminator says of whole pairs."""
        secret = self.paid.secret
        asked: list[tuple[Pair, Request, frozenset[str]]] = []
        for one in pairs:
            if one.whole and one.simulated is not None:
                pair = Pair(one.prefix_id, one.messages, one.real, one.simulated, name)
                body = request(pair, told.model, told.params, secret, self.seed)
                if body is None:
                    self.too_long += 1
                else:
                    tools = frozenset(self.names[a.tool] for a in answered(one.simulated))
                    asked.append((pair, body, tools))
        self._add(
            ask(
                lambda: (body for _, body, _ in asked),
                told.endpoint,
                journal,
                self.paid.journal,
                account=open_account(self.project),
                log=self.log,
            )
        )
        journal.taken()
        verdicts: list[Verdict] = []
        for pair, body, tools in asked:
            key = request_key(body)
            pick = picked(journal.get(key)) if key in journal else None
            self._take(pair.prefix_id, journal)
            real_first = real_is_first(secret, pair, self.seed)
            first = None if pick is None else pick == "first"
            verdicts.append(Verdict(tools, taken_for_real(pick, real_first), first))
        return verdicts

    def _add(self, outcome: Outcome) -> None:
        self.outcome = self.outcome.plus(outcome)

    def _take(self, prefix_id: str, journal: Journal) -> None:
        self.taken += [{"prefix_id": prefix_id, **one} for one in journal.taken()]

    def rows(self, journal: Journal) -> tuple[list[Row], dict[str, Any]]:
        """The rows of the table, and the counts of what was asked."""
        told = _Told.by(self.project)
        pairs = self.self_replayed()
        chosen = frozenset(
            heapq.nsmallest(self.agents.discriminator.ablation, (p.prefix_id for p in pairs))
        )
        replayed = self._replayed_with()
        sets = [(replayed, pairs)]
        if chosen:
            fewer = ((s, self.rolled_out(s, chosen, journal)) for s in ablations(self.agents))
            sets += fewer
        rows: list[Row] = []
        counts = {"pairs": len(pairs), "whole_pairs": sum(p.whole for p in pairs),
                  "asked_about": 0, "no_pick": 0}  # fmt: skip
        self.names = named_tools(pair for _, of in sets for pair in of)
        for settings, of in sets:
            name = name_of(settings)
            found = [*result_rows(of, self.names), statistics_row(of, self.seed)]
            if told is not None:
                verdicts = self.judged(of, name, told, journal)
                counts["asked_about"] += len(verdicts)
                counts["no_pick"] += sum(v.taken is None for v in verdicts)
                found += discriminator_rows(verdicts)
            whole = settings is replayed and self._as_forecast(replayed)
            rows += [{"affordances": name, "every_affordance": whole} | row for row in found]
        known = {"model_version": self.paid.key, "live_version": self.live}
        return [known | row for row in rows], counts | {"too_long_to_show": self.too_long}

    def _replayed_with(self) -> Agents:
        """The settings under which self_completions was made, which may be older than the
        file's."""
        manifest = self.lake.manifest("self_completions", self.live)
        settings: dict[str, Any] = manifest.predicate["settings"] if manifest else {}
        own = settings.get("agents")
        return Agents.model_validate(own) if own else self.agents

    def _as_forecast(self, replayed: Agents) -> bool:
        """Whether they are those of the candidate's forecast, which its registration holds."""
        registered = Registration.load(self.lake, self.paid.key).agents
        return registered is not None and _simulated_alike(registered, replayed)


@dg.asset(
    partitions_def=CANDIDATES,
    deps=[
        "preregistration",  # which says how the candidate's calls are answered
        dg.AssetDep("self_completions", partition_mapping=FROM_PREDECESSOR),
        dg.AssetDep("deidentified_prefixes", partition_mapping=FROM_PREDECESSOR),
    ],
    automation_condition=ONCE,
    group_name="fidelity",
    kinds={"openai"},
    tags={"paid": "true"},
    output_required=False,  # while batches are with the provider a run ends well and makes nothing
    pool=ENDPOINT,
)
def simulation_fidelity(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    project: dg.ResourceParam[Project],
) -> Iterator[dg.MaterializeResult[None]]:
    """Real against self-replayed turns of the live model: how many simulated ones a model takes for
    real (half: they cannot be told), how well statistics tell them (area under the curve, half:
    not at all), and how far simulated results agree with the recorded ones of the same call.

    A sample of the turns is replayed with fewer affordances as well, which tells what each is
    good for. Pairs of which the discriminator named none are missing, never a pick.
    """
    lake = making(context, lake, project.part("endpoint", "judge", "agents"))
    measuring = _Measuring(context, lake, project)
    with lake.asking(), open_journal(measuring.paid.journal) as journal:
        try:
            rows, counts = measuring.rows(journal)
        except BatchesPendingError as pending:
            context.log.info(str(pending))
            return
    facts = counts | costs(measuring.outcome, measuring.paid.journal, project.prices)
    seal = finding(context, lake)
    key = context.partition_key
    with lake.new_version("simulation_fidelity", key, SIMULATION_FIDELITY, seal=seal) as version:
        version.side_table(ANSWERS, TAKEN_ANSWERS)
        version.extend(pl.DataFrame(rows, schema=SIMULATION_FIDELITY))
        for one in measuring.taken:
            version.add(one, ANSWERS)
        version.stats |= facts
    yield table_result(lake, "simulation_fidelity", key, facts)
