"""A call of a rollout, and what may answer it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from deploysim_assets.endpoint.wire import Request


class Call(NamedTuple):
    """A tool call as the model wrote it; `arguments` is JSON text."""

    id: str | None
    name: str
    arguments: str


class Moment(NamedTuple):
    """All that an affordance may go by.

    `prefix` has prefix_id, conversation_key, messages, tools, commit, clock and
    production_completion, which is the recorded trajectory.  `steps` are the STEPs of this rollout
    so far, `arguments` the call's, parsed and checked against the tool's schema.  `state` is the
    rollout's own: functions may keep what they like in it.
    """

    prefix: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]
    call: Call
    arguments: dict[str, Any]
    state: dict[str, Any]


class Result(NamedTuple):
    """What a call gets; `source` is one of schema.RESULT_SOURCES. `missed`: what it asked for is
    not there, which surrogates in its arguments may have caused."""

    content: str
    source: str
    missed: bool = False


class Example(NamedTuple):
    """Not an answer, but like one: shown to the simulator's model."""

    call: Call
    content: str
    source: str


Scrub = Callable[[str, Mapping[str, Any]], str]
"""A text from outside, de-identified as a prefix's conversation was; Uncleared where it cannot be
cleared."""


class Uncleared(Exception):
    """An answer that could not be de-identified."""


class Told(Protocol):
    """What is told the answers of its requests, and says what to ask next."""

    def take(self, request: "TurnRequest", answer: Mapping[str, Any]) -> "list[TurnRequest]": ...


class TurnRequest(Request):
    """A request of a rollout: for the model's next step, or for the result of the call at `place`
    in the step."""

    rollout: Told
    place: int | None = None


class Affordance(Protocol):
    """One of project.AFFORDANCES: the answer to a call, examples of answers ([]: nothing), or a
    request whose answer will tell. Uncleared where it has an answer that nobody may see."""

    @property
    def name(self) -> str: ...

    def look(self, moment: Moment) -> Result | list[Example] | Request:
        """What it knows of a call."""
        ...
