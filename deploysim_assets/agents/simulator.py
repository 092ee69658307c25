"""What a call of a rollout is answered with: the affordances in their order, then a model."""

from collections.abc import Sequence
from typing import Any

from deploysim_assets.agents.moment import Affordance, Example, Moment, Result
from deploysim_assets.endpoint.wire import Request
from deploysim_assets.project import Agents


class SimulatorRequest(Request):
    """A request whose answer will tell a call's result: to the simulator's model, or to a
    connector."""

    moment: Moment
    examples: list[Example]
    asked: str


class ToolSimulator:
    """Answers calls by the affordances that the settings allow a tool."""

    def __init__(self, settings: Agents, affordances: Sequence[Affordance]) -> None:
        self._settings = settings
        self._by_name = {a.name: a for a in affordances}

    def answer(self, moment: Moment) -> Result | SimulatorRequest | None:
        """The result of a call, or the request whose answer tells it; None where nothing can
        answer."""
        for name in self._settings.answered_by(moment.call.name):
            found = self._by_name[name].look(moment) if name in self._by_name else []
            if isinstance(found, Result):
                return found
        return None

    def resume(
        self, request: SimulatorRequest, answer: dict[str, Any]
    ) -> Result | SimulatorRequest | None:
        """As `answer`, once one of its requests is answered."""
        raise NotImplementedError
