"""The `openai_chat` format: JSON lines, one conversation each, messages as the chat API writes
them."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from deploysim_assets.logs.conversation import Conversation, Reject, Time
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.parts import as_json_text, attached
from deploysim_assets.logs.records import Problem, convert, extra_fields, json_lines, loaded
from deploysim_assets.logs.tools import definitions


class _Line(BaseModel):
    model_config = ConfigDict(extra="allow")
    conversation_id: StrictStr = Field(min_length=1)
    user_id: StrictStr | None = None
    started_at: Time | None
    model: StrictStr | None = None
    training_allowed: StrictBool | None = None
    is_temporary: StrictBool = False
    has_attachments: StrictBool = False
    surface: StrictStr | None = None
    language: StrictStr | None = None
    messages: list[Any] = Field(min_length=1)
    tools: Any = None
    functions: Any = None
    tools_inferred: StrictBool | None = None
    commit: Any = None


def _conversation(number: int, line: _Line) -> Conversation:
    dialog = messages(line.messages)
    return Conversation(
        line=number,
        conversation_id=line.conversation_id,
        user_id=line.user_id,
        started_at=line.started_at,
        surface=line.surface,
        language=line.language,
        reported_model=line.model,
        training_allowed=line.training_allowed,
        is_temporary=line.is_temporary,
        has_attachments=line.has_attachments or attached(dialog),
        messages=dialog,
        tools=definitions(line.tools, line.functions),
        tools_inferred=line.tools_inferred,
        commit=line.commit if isinstance(line.commit, str) else None,
        source=extra_fields(line),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each line of a JSONL file as a conversation, or as a reject with its line number and
    reason. Blank lines are passed over."""
    records = (
        (number, raw if isinstance(raw, Problem) else loaded(raw))
        for number, raw in json_lines(stream)
    )
    return convert(records, _Line, _conversation)


def lines_about(
    stream: BinaryIO, users: Collection[str], conversations: Collection[str]
) -> Iterator[int]:
    """Numbers of the lines that are of some users or conversations, those included that `read`
    rejects: a line that is no whole JSON is theirs where it names one."""
    ids = "|".join(re.escape(json.dumps(one)) for one in sorted({*users, *conversations}))
    named = re.compile(ids.encode())
    for number, raw in json_lines(stream):
        if isinstance(raw, Problem):
            continue  # longer than any line that is read
        try:
            line = orjson.loads(raw)
        except ValueError:
            if ids and named.search(raw):
                yield number
            continue
        if isinstance(line, dict):
            found = cast("dict[str, Any]", line)
            user, conversation = (str(found.get(n)) for n in ("user_id", "conversation_id"))
            if user in users or conversation in conversations:
                yield number


def line_of(conversation: Conversation, log_file: str) -> bytes:
    """A conversation of any format as a line of this one; what no field holds is in `source`, and
    where it came from in `imported_from`."""
    messages = [
        {
            "role": m.role,
            "content": m.content,
            "reasoning": m.reasoning,
            "name": m.name,
            "tool_call_id": m.tool_call_id,
            "at": m.at,
            "finish_reason": m.finish_reason,
            "tool_calls": [
                {
                    "id": c.id,
                    "type": "function",
                    "function": {"name": c.name, "arguments": c.arguments},
                }
                for c in m.tool_calls or []
            ],
        }
        for m in conversation.messages
    ]
    fields = conversation.model_dump(exclude={"line", "messages", "reported_model", "source"})
    sent = [{k: v for k, v in m.items() if v not in (None, [])} for m in messages]
    source = orjson.loads(conversation.source) if conversation.source else None
    line = fields | {
        "model": conversation.reported_model,
        "messages": sent,
        "source": source,
        "imported_from": {"file": log_file, "line": conversation.line},
    }
    return as_json_text(line).encode() + b"\n"
