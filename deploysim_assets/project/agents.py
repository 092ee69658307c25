"""How turns with tools are replayed, and what may answer the calls in them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from deploysim_assets.behaviors import Frozen

Affordance = Literal["recorded", "repository", "library", "connector", "function", "model"]
AFFORDANCES: tuple[Affordance, ...] = (
    "recorded",
    "function",
    "repository",
    "connector",
    "library",
    "model",
)
"""In the order in which they are asked for the result of a call."""


class Caps(Frozen):
    """What ends a rollout that does not end by itself: steps of the model, tokens and money of all
    its requests, seconds of all its answers."""

    steps: int = Field(default=30, ge=1, le=1_000)
    tokens: int | None = Field(default=None, ge=1)
    money: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)


class Tool(Frozen):
    """What is known of a tool beyond its definition: which affordances may answer it, and whether
    it only reads."""

    affordances: tuple[Affordance, ...] | None = None
    read_only: bool | None = None


class Connector(Frozen):
    """An MCP server that may answer calls: only tools that `allow` names and that the server itself
    declares read-only. `url` is a streamable HTTP address, `command` starts a local server."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    url: str | None = Field(default=None, pattern=r"^https?://")
    command: tuple[str, ...] | None = Field(default=None, min_length=1)
    allow: tuple[str, ...] = Field(min_length=1)
    timeout_seconds: float = Field(default=20, gt=0)
    max_bytes: int = Field(default=100_000, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("name either `url` or `command`")
        return self


class Simulator(Frozen):
    """The model that writes the results that nothing else gives, at the project's endpoint."""

    model: str
    params: dict[str, Any] = Field(default_factory=dict)


class Discriminator(Frozen):
    """How well real and simulated turns are told apart: on `sample` turns of the live model, by the
    judge's model (or `model`), and by statistics where there is neither. `ablation` of these turns
    are also replayed with fewer affordances, from the simulator's model alone on; 0 leaves that
    out."""

    sample: int = Field(default=200, ge=2)
    ablation: int = Field(default=40, ge=0)
    model: str | None = None


class Agents(Frozen):
    """Replay turns in which tools are used: every call is answered by a simulation, never by a live
    tool.

    `affordances` are what may answer a call; `tools` says it for single tools. `repository` is a
    bare or plain git repository (relative to the home) whose objects are read, `repository_root`
    where the agent's tools saw it, `functions` names Python functions (`module:function`) that
    answer a tool, `library_examples` how many earlier results the simulator is shown.
    """

    caps: Caps = Caps()
    affordances: tuple[Affordance, ...] = AFFORDANCES
    tools: dict[str, Tool] = Field(default_factory=dict)
    repository: str | None = None
    repository_root: str | None = Field(default=None, pattern=r"^/.*[^/]$")
    library_examples: int = Field(default=3, ge=0, le=20)
    connectors: tuple[Connector, ...] = ()
    functions: dict[str, Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]] = Field(
        default_factory=dict
    )
    simulator: Simulator | None = None
    discriminator: Discriminator = Discriminator()

    @property
    def used(self) -> frozenset[Affordance]:
        """The affordances that may answer any tool."""
        own = (tool.affordances or () for tool in self.tools.values())
        return frozenset(self.affordances).union(*own)

    @property
    def reads_outside(self) -> bool:
        """Whether calls are answered by what no log holds: a repository, or a connector."""
        repository = self.repository is not None and "repository" in self.used
        return repository or (bool(self.connectors) and "connector" in self.used)

    def answered_by(self, tool: str) -> tuple[Affordance, ...]:
        """The affordances that may answer a tool, in the order in which they are asked."""
        own = self.tools.get(tool)
        allowed = self.affordances if own is None or own.affordances is None else own.affordances
        return tuple(a for a in AFFORDANCES if a in allowed)
