"""Affordance: read-only connectors. MCP servers of the project answer calls of the tools that the
project allows and that they declare read-only; what they say is scrubbed before it is kept."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from deploysim_assets.agents.calls import canonical, misfit
from deploysim_assets.agents.extras import extra
from deploysim_assets.agents.limited_http import OVER, limited_http
from deploysim_assets.agents.moment import Example, Moment, Result, Scrub, Uncleared
from deploysim_assets.agents.trajectory import world_of
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.endpoint.tries import UnansweredError
from deploysim_assets.endpoint.wire import Request
from deploysim_assets.project import Agents, Connector
from deploysim_assets.schema.tools import is_read_only

_DEAD_AFTER = 20
_MOST_PAGES = 100


class _Session:
    """The connection to one server in one event loop, opened by a task of its own that the loop
    ends."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold())
        self.tools: dict[str, Any] = {}

    async def _hold(self) -> None:
        mcp = extra("mcp", "agents.connectors")
        own = self._connector
        if own.url is not None:
            server: Any = limited_http(own.url, own.max_bytes)
        else:
            assert own.command is not None
            command, *arguments = own.command
            server = mcp.StdioServerParameters(command=command, args=arguments)
        try:
            async with (
                asyncio.timeout(own.timeout_seconds) as opening,
                mcp.Client(server, cache=None, read_timeout_seconds=own.timeout_seconds) as client,
            ):
                self.tools = {tool.name: tool for tool in await _listed(client)}
                opening.reschedule(None)
                self._ready.set_result(client)
                await asyncio.Event().wait()
        except Exception as wrong:  # noqa: BLE001 (whatever the transport raises: there is no answer)
            if not self._ready.done():
                self._ready.set_exception(UnansweredError(f"{own.name}: {type(wrong).__name__}"))

    async def client(self) -> Any:
        """The open connection; UnansweredError where there is none."""
        return await asyncio.shield(self._ready)

    @property
    def closed(self) -> bool:
        """Whether the connection broke, or its loop has ended."""
        return self._task.done() or self._task.get_loop() is not asyncio.get_running_loop()

    def close(self) -> None:
        """Let the connection go."""
        self._task.cancel()


async def _listed(client: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return found


class Connectors:
    """Asks the project's MCP servers. What they answer is a result as long as the rollout wrote
    nothing; behind a write it is an example, as the live world does not show it."""

    name = "connector"

    def __init__(self, settings: Agents, scrub: Scrub) -> None:
        extra("mcp", "agents.connectors")
        self._settings, self._scrub = settings, scrub
        self._sessions: dict[str, _Session] = {}
        self._outcomes: Counter[str] = Counter()
        self._dead = 0

    def stats(self) -> dict[str, int]:
        """Calls of this run by connector and outcome; those of earlier runs are in the journal."""
        return dict(sorted(self._outcomes.items()))

    def look(self, moment: Moment) -> Request | list[Example]:
        """The request to the connector that may answer the call's tool; nothing where none may."""
        found = self._allowed(moment)
        if found is None:
            return []
        connector, tool = found
        key = canonical(moment.call)
        world = world_of(moment, self._settings)
        rollout = world.so_far(moment.steps)
        request = Request(
            connector=connector.name,
            tool=tool,
            arguments=moment.arguments,
            prefix=moment.prefix["prefix_id"],
            occasion=sum(made.key == key for made in rollout.made),
            after_writes=rollout.after != world.earlier.after,
        )

        async def live() -> dict[str, Any]:
            return await self._answer(connector, tool, moment, dict(request))

        request.live = live
        return request

    def read(self, moment: Moment, answer: Mapping[str, Any]) -> Result | list[Example]:
        """What a connector's journalled answer says; Uncleared where nobody may see it."""
        if answer["outcome"] == "uncleared":
            raise Uncleared
        content: str | None = answer["content"]
        if content is None:
            return []
        if answer["after_writes"]:
            return [Example(moment.call, content, self.name)]
        return Result(content, self.name, answer["missed"])

    def _allowed(self, moment: Moment) -> tuple[Connector, str] | None:
        """The connector that lists a tool as allowed, and the tool's name there."""
        called = moment.call.name
        for connector in self._settings.connectors:
            for tool in connector.allow:
                own = f"{connector.name}__{tool}"
                if called in (tool, own, f"mcp__{own}", f"{connector.name}.{tool}"):
                    return (connector, tool) if self._may_read(moment, tool) else None
        return None

    def _may_read(self, moment: Moment, tool: str) -> bool:
        """Whether nothing here says that a tool writes, whatever its server claims."""
        said = self._settings.tools.get(moment.call.name)
        if said is not None and said.read_only is not None:
            return said.read_only
        declared = [t["read_only"] for t in moment.prefix["tools"] if t["name"] == moment.call.name]
        # with a reading verb in front, only a name that says that it writes is one that does
        return False not in declared and is_read_only(f"get_{tool}")

    async def _answer(
        self, connector: Connector, tool: str, moment: Moment, asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What is journalled of a call: its outcome, and the scrubbed text where there is one."""
        at, start = datetime.now(UTC), time.perf_counter()
        outcome, raw = await self._called(connector, tool, moment.arguments)
        content, missed = None, False
        if raw is not None:
            try:
                content = self._scrub(raw, moment.prefix)
                missed = outcome == "error" and self._has_surrogates(moment)
            except Uncleared:
                outcome = "uncleared"
        self._outcomes[f"{connector.name}: {outcome}"] += 1
        return {
            "connector": connector.name,
            "tool": tool,
            "outcome": outcome,
            "content": content,
            "missed": missed,
            "after_writes": asked["after_writes"],
            "latency_ms": (time.perf_counter() - start) * 1e3,
            "requested_at": at.isoformat(),
        }

    def _has_surrogates(self, moment: Moment) -> bool:
        """Whether something in the arguments looks as identifiers do: nobody maps it back."""
        said = canonical(moment.call)
        return self._scrub(said, moment.prefix) != said

    async def _called(
        self, connector: Connector, tool: str, arguments: dict[str, Any]
    ) -> tuple[str, str | None]:
        """How a call came out, and the text it gave; UnansweredError where the server cannot be
        reached, EndpointError where it could not be for long."""
        try:
            session = self._session(connector)
            client = await session.client()
        except UnansweredError as wrong:
            self._dead += 1
            if self._dead >= _DEAD_AFTER:
                raise EndpointError(
                    f"agents.connectors: {connector.name}: cannot be reached ({wrong}); what was "
                    "answered is kept: mend it and run again"
                ) from None
            raise
        self._dead = 0
        declared = session.tools.get(tool)
        if why := _refused(declared, arguments):
            return why, None
        try:
            async with asyncio.timeout(connector.timeout_seconds):
                said = await client.call_tool(tool, arguments)
        except TimeoutError:
            return "timed out", None
        except Exception as wrong:  # noqa: BLE001 (the transport broke, or the server speaks no MCP)
            if OVER in str(wrong):
                return "too large", None
            session.close()
            raise UnansweredError(f"{connector.name}: {type(wrong).__name__}") from None
        text = _text(said)
        if text is None:
            return "no text", None
        if len(text.encode()) > connector.max_bytes:
            return "too large", None
        return ("error" if said.is_error else "answered"), text

    def _session(self, connector: Connector) -> _Session:
        found = self._sessions.get(connector.name)
        if found is None or found.closed:
            found = self._sessions[connector.name] = _Session(connector)
        return found


def _refused(declared: Any, arguments: dict[str, Any]) -> str | None:
    """Why a server's tool is not called: it has none, does not declare it read-only, or takes other
    arguments."""
    if declared is None:
        return "no such tool"
    hints = declared.annotations
    if hints is None or hints.read_only_hint is not True or hints.destructive_hint is True:
        return "not read-only"
    schema = orjson.dumps(declared.input_schema).decode()
    return "other arguments" if misfit(schema, arguments, strict=True) else None


def _text(said: Any) -> str | None:
    """The text of an answer; None where it holds anything else."""
    parts: list[str] = []
    for part in cast("list[Any]", said.content):
        if part.type != "text":
            return None
        parts.append(part.text)
    if not parts and said.structured_content is not None:
        with contextlib.suppress(orjson.JSONEncodeError):
            return orjson.dumps(said.structured_content).decode()
        return None
    with contextlib.suppress(UnicodeEncodeError):
        "".join(parts).encode()
        return "\n".join(parts)
    return None
