"""What was called and answered along a conversation, and what the world had been told to change
before each call."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deploysim_assets.agents.calls import MalformedCall, called, canonical, checked
from deploysim_assets.agents.command_lines import only_reads
from deploysim_assets.agents.moment import Call, Moment
from deploysim_assets.project import Agents
from deploysim_assets.schema.tools import is_read_only

_FRESH = ""
_KEPT = "deploysim.world"
_WRITES_NOTHING = ("runtime", "repository", "connector")
"""Sources that only carry out what reads, whatever a tool is called."""

Reads = Callable[[Call], bool]


class Made(NamedTuple):
    """A call and what it got. `key` is the call in canonical form, `before` tells the writes made
    before it: equal where these are the same."""

    call: Call
    key: str
    content: str
    before: str
    writes: bool


class Walked(NamedTuple):
    """The answered calls of some messages, and the writes after them."""

    made: list[Made]
    after: str


def pairs(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Call, Mapping[str, Any]]]:
    """Each call with the message that answers it: by its id, in order where ids are missing or
    repeated. What nothing answers is left out."""
    waiting: list[Call] = []
    for message in messages:
        if message["role"] == "tool":
            same = [c for c in waiting if c.id is not None and c.id == message["tool_call_id"]]
            if answered := same[:1] or ([] if message["tool_call_id"] else waiting[:1]):
                waiting.remove(answered[0])
                yield answered[0], message
        elif message["role"] == "assistant":
            waiting = [called(c) for c in message["tool_calls"] or ()]


def walk(
    messages: Iterable[Mapping[str, Any]],
    tools: list[Mapping[str, Any]],
    reads: Reads,
    before: str = _FRESH,
) -> Walked:
    """The answered calls of messages in turn. A call that a runtime would refuse writes nothing."""
    made: list[Made] = []
    for call, message in pairs(messages):
        key = canonical(call)
        writes = not reads(call) and _carried_out(tools, call, message)
        made.append(Made(call, key, message["content"] or "", before, writes))
        if writes:
            before = hashlib.blake2b(f"{before}\x1f{key}".encode(), digest_size=16).hexdigest()
    return Walked(made, before)


def _carried_out(tools: list[Mapping[str, Any]], call: Call, message: Mapping[str, Any]) -> bool:
    if "source" in message and message["source"] is not None:
        return message["source"] not in _WRITES_NOTHING
    try:
        checked(tools, call)
    except MalformedCall:
        return False
    return True


def reads_of(settings: Agents, tools: Iterable[Mapping[str, Any]]) -> Reads:
    """Whether a call only reads: as the settings say of its tool, else the tool's definition, else
    its name."""
    declared = {tool["name"]: tool["read_only"] for tool in tools}
    for name, own in settings.tools.items():
        if own.read_only is not None:
            declared[name] = own.read_only

    def reads(call: Call) -> bool:
        said = declared.get(call.name)
        if said is None and only_reads(call):
            return True
        return is_read_only(call.name, said)

    return reads


class World:
    """The recorded trajectory of a rollout's prefix, and the writes of the rollout so far."""

    def __init__(self, prefix: Mapping[str, Any], settings: Agents) -> None:
        self.tools: list[Mapping[str, Any]] = list(prefix["tools"] or ())
        self.reads = reads_of(settings, self.tools)
        self.earlier = walk(prefix["messages"], self.tools, self.reads)
        recorded: Mapping[str, Any] = prefix["production_completion"] or {}
        steps: list[Mapping[str, Any]] = recorded.get("steps") or []
        self.recorded = walk(steps, self.tools, self.reads, self.earlier.after)
        self._walked, self._upto = Walked([], self.earlier.after), 0
        self._last: Mapping[str, Any] | None = None

    def so_far(self, steps: Sequence[Mapping[str, Any]]) -> Walked:
        """The answered calls of the rollout, and the writes of the whole conversation. Steps only
        grow: what was walked before the model's last message is not walked again."""
        if self._upto and (len(steps) < self._upto or steps[self._upto - 1] is not self._last):
            self._walked, self._upto = Walked([], self.earlier.after), 0
        last = max((i for i, s in enumerate(steps) if s["role"] == "assistant"), default=0)
        if last > self._upto:
            self._walked = self._further(steps[self._upto : last])
            self._upto, self._last = last, steps[last - 1]
        return self._further(steps[self._upto :])

    def _further(self, steps: Sequence[Mapping[str, Any]]) -> Walked:
        more = walk(steps, self.tools, self.reads, self._walked.after)
        return Walked(self._walked.made + more.made, more.after)


def world_of(moment: Moment, settings: Agents) -> World:
    """The world of a call's rollout, made once for all its calls."""
    found = moment.state.get(_KEPT)
    if not isinstance(found, World):
        moment.state[_KEPT] = found = World(moment.prefix, settings)
    return found
