"""Turns of a table of completions: rolled out where the project replays agents and the prefix is an
agent's, asked for once elsewhere; and what may answer the calls."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from deploysim_assets.agents.connectors import Connectors
from deploysim_assets.agents.functions import Functions, load_functions
from deploysim_assets.agents.library import Library
from deploysim_assets.agents.moment import Affordance, Scrub, Uncleared
from deploysim_assets.agents.recorded import Recorded
from deploysim_assets.agents.repository import Repository
from deploysim_assets.agents.rollout import PREFIX_COLUMNS, Rollout, rolled_out
from deploysim_assets.agents.simulator import ToolSimulator
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.endpoint.completions import completion_request, completion_row
from deploysim_assets.endpoint.wire import Request, about
from deploysim_assets.project import Agents, Candidate, Project
from deploysim_assets.schema.tools import is_agentic
from deploysim_assets.storage.journal import Journal
from deploysim_assets.storage.tables import Lake

CHAT_COLUMNS = ["prefix_id", "messages"]


def columns_for(agents: Agents | None) -> list[str]:
    """What is read of a prefix that is asked, or rolled out."""
    return CHAT_COLUMNS if agents is None else PREFIX_COLUMNS


def scrub_of(project: Project) -> Scrub:
    """How a text from outside is de-identified for a prefix: as the prefix's own conversation was,
    so that what is the same gets the same surrogate."""
    from deploysim_assets.deidentify.scrub import Quarantined, Scrubber

    keys = load_keys(project.home, may_create=False)
    scrubber = Scrubber(keys.surrogates, project.deidentification.at(project.home))

    def scrub(text: str, prefix: Mapping[str, Any]) -> str:
        message = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id")) | {
            "role": "tool",
            "content": text,
        }
        try:
            cleared = scrubber.scrub(
                [message], prefix["conversation_key"], prefix["language"], prefix["user_key"]
            )
        except Quarantined as why:
            raise Uncleared(str(why)) from None
        found: str = cleared.messages[0]["content"]
        return found

    return scrub


class Turns:
    """How one run asks for the turns of a table. `library_of` is the model whose prefixes, in
    `version`, earlier results are looked up in."""

    def __init__(
        self,
        project: Project,
        lake: Lake,
        agents: Agents | None,
        asked_as: Candidate,
        seed: int,
        library_of: tuple[str, str | None],
    ) -> None:
        self._project, self._asked_as, self._seed = project, asked_as, seed
        self._agents = agents
        self._simulator = (
            None if agents is None else simulator_of(project, lake, agents, library_of)
        )
        self.asked_of = asked_as.model
        self.counts: dict[str, Counter[str]] = {}

    def _rollout(self, prefix: Mapping[str, Any]) -> Rollout | None:
        if self._simulator is None or not is_agentic(prefix):
            return None
        return Rollout(prefix, self._asked_as, self._seed, self._simulator, self._price)

    def _price(self, model: str, prompt: int, completion: int, batched: bool) -> float:
        price = self._project.prices.get(model)
        return price.of(prompt, completion, batched=batched) if price else 0.0

    def first_request(self, prefix: dict[str, Any]) -> Request:
        """The request that a prefix's turn begins with."""
        if (rollout := self._rollout(prefix)) is not None:
            return rollout.first()
        body = completion_request(prefix, self._asked_as, self._seed)
        return about(prefix["prefix_id"], body)

    def row(
        self, prefix: dict[str, Any], key: str, journal: Journal, failures: dict[str, str]
    ) -> dict[str, Any]:
        """The turn's row of the completions table, from the journal."""
        rollout = self._rollout(prefix)
        if rollout is None:
            body = completion_request(prefix, self._asked_as, self._seed)
            return completion_row(prefix["prefix_id"], key, body, journal, failures)
        row = rolled_out(rollout, journal, failures)
        for name, counted in rollout.counts().items():
            self.counts.setdefault(name, Counter()).update(counted)
        return {"prefix_id": prefix["prefix_id"], "model_version": key} | row

    def stats(self) -> dict[str, Any]:
        """What the rollouts came to; nothing where the project replays no agents."""
        if self._simulator is None:
            return {}
        counted = {name: dict(sorted(c.items())) for name, c in sorted(self.counts.items())}
        return {"agents": counted | self._simulator.stats()}


def simulator_of(
    project: Project, lake: Lake, agents: Agents, library_of: tuple[str, str | None]
) -> ToolSimulator:
    """What answers the calls of a project's rollouts, as its settings say."""
    used = agents.used
    found: list[Affordance] = []
    if "recorded" in used:
        found.append(Recorded(agents))
    if agents.functions and "function" in used:
        found.append(Functions(load_functions(agents.functions)))
    scrub = scrub_of(project) if agents.reads_outside else None
    if scrub is not None and agents.repository and "repository" in used:
        found.append(Repository(project.home / agents.repository, agents, scrub))
    if scrub is not None and agents.connectors and "connector" in used:
        found.append(Connectors(agents, scrub))
    if "library" in used:
        found.append(Library(lambda: library_rows(lake, *library_of), agents))
    return ToolSimulator(agents, found)


def library_rows(lake: Lake, model: str, version: str | None) -> Iterator[dict[str, Any]]:
    """The trajectories in which earlier calls are looked up: a model's sampled production."""
    columns = ["conversation_key", "messages", "production_completion", "tools", "clock"]
    return lake.rows("deidentified_prefixes", model, version, columns)
