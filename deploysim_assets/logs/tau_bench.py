"""The `tau_bench` format: results of tau-bench, a JSON array of {task_id, trial, reward, info,
traj}, where `traj` holds the messages as the chat API writes them."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field

from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.parts import attached
from deploysim_assets.logs.records import convert, extra_fields, json_records
from deploysim_assets.logs.tools import definitions


class _Result(BaseModel):
    """`task_id`, `trial`, `reward` and `info` survive as extra fields: a task and its trial name a
    conversation only within one run, so it is named by file and record."""

    model_config = ConfigDict(extra="allow")
    traj: list[Any] = Field(min_length=1)
    tools: Any = None


def _conversation(number: int, result: _Result) -> Conversation:
    dialog = messages(result.traj, where="traj")
    return Conversation(
        line=number,
        has_attachments=attached(dialog),
        messages=dialog,
        tools=definitions(result.tools),
        source=extra_fields(result),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each result as a conversation; a task that failed before its first message is rejected."""
    return convert(json_records(stream), _Result, _conversation)
