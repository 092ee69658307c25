"""The `swe_agent` format: a trajectory of SWE-agent ({history, trajectory, info}), one JSON
document a file; its `history` holds what the model was sent and said."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field

from deploysim_assets.logs.conversation import Conversation, Message, Reject
from deploysim_assets.logs.dialog import message
from deploysim_assets.logs.parts import attached, parsed
from deploysim_assets.logs.records import convert, held, json_records, rest, text
from deploysim_assets.logs.tools import commit_in, definitions

_SAID_ELSEWHERE = ("history", "trajectory", "replay_config")


class _Trajectory(BaseModel):
    model_config = ConfigDict(extra="allow")
    history: list[Any] = Field(min_length=1)


def _turn(item: Any, where: str) -> list[Message]:
    """An item of the history: `thinking_blocks` are thoughts, and `tool_call_ids` is what a tool's
    result answers: each of several calls got it."""
    if not isinstance(item, dict):
        return message(item, where=where)
    given = {k: item.get(k) for k in ("role", "content", "tool_calls", "name")}
    ids = item.get("tool_call_ids")
    first, *others = ids if isinstance(ids, list) and ids else [None]
    found = message(given | {"tool_call_id": first}, where=where)
    for other in others:
        found += message(given | {"tool_call_id": other}, where=where)
    blocks = item.get("thinking_blocks")
    if isinstance(blocks, list) and blocks and found:
        thoughts = message({"role": "assistant", "content": blocks}, where=f"{where}.thinking")
        found[0].reasoning = thoughts[0].reasoning
    return found


def _commit(more: dict[str, Any]) -> str | None:
    """The commit that the repository was set to: in the configuration of the run, as JSON text."""
    config = parsed(more.get("replay_config"))
    return commit_in(held(held(config, "env"), "repo"), more.get("info"), more)


def _conversation(number: int, run: _Trajectory) -> Conversation:
    dialog = [m for n, item in enumerate(run.history) for m in _turn(item, f"history.{n}")]
    more: dict[str, Any] = run.model_extra or {}
    return Conversation(
        line=number,
        surface=text(more, "environment"),
        reported_model=text(held(more, "info"), "model"),
        has_attachments=attached(dialog),
        messages=dialog,
        tools=definitions(more.get("tools")),
        commit=_commit(more),
        source=rest(more, *_SAID_ELSEWHERE),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each trajectory as a conversation, named by its file."""
    return convert(json_records(stream), _Trajectory, _conversation)
