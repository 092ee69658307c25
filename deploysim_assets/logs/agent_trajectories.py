"""The `agent_trajectories` format: runs of an agent with tool calls and results, as rows of Parquet
or CSV or as JSON records.

A row has `messages`, as a list or as its JSON text, and any further columns; the shape of
AgentDojo's runs.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictBool, StrictStr

from deploysim_assets.logs.conversation import Conversation, Reject, Time
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.parts import attached
from deploysim_assets.logs.records import convert, extra_fields
from deploysim_assets.logs.tables import listed, rows
from deploysim_assets.logs.tools import definitions


class _Run(BaseModel):
    model_config = ConfigDict(extra="allow")
    run_id: StrictStr | None = Field(
        default=None, validation_alias=AliasChoices("conversation_id", "run_id", "id")
    )
    user_id: StrictStr | None = None
    model: StrictStr | None = None
    surface: StrictStr | None = Field(
        default=None, validation_alias=AliasChoices("surface", "suite")
    )
    language: StrictStr | None = None
    training_allowed: StrictBool | None = None
    started_at: Time | None = None
    messages: Any
    tools: Any = None
    commit: Any = Field(default=None, validation_alias=AliasChoices("commit", "base_commit"))


def _conversation(number: int, run: _Run) -> Conversation | Reject:
    dialog = messages(listed(run.messages))
    if not dialog:
        return Reject(number, "messages: List should have at least 1 item after validation, not 0")
    return Conversation(
        line=number,
        conversation_id=run.run_id or "",
        user_id=run.user_id,
        started_at=run.started_at,
        surface=run.surface,
        language=run.language,
        reported_model=run.model,
        training_allowed=run.training_allowed,
        has_attachments=attached(dialog),
        messages=dialog,
        tools=definitions(run.tools),
        commit=run.commit if isinstance(run.commit, str) else None,
        source=extra_fields(run),
    )


def read(stream: BinaryIO) -> Iterator[Conversation | Reject]:
    """Each run as a conversation."""
    return convert(rows(stream, "messages"), _Run, _conversation)
