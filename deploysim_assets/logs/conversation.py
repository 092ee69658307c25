"""One conversation as every reader hands it on, and the row that it becomes in the conversations
table."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, BinaryIO, NamedTuple, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError


def as_utc(time: datetime) -> datetime:
    """The time in UTC; ValueError where the calendar has no such time."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time out of range") from None


_MICROSECONDS, _NANOSECONDS = 1e14, 1e17
"""From here on a number cannot be of milliseconds (the year 5138), or of microseconds."""
_DIGITS = 20


def _of_epoch(value: Any) -> Any:
    """Micro- and nanoseconds since 1970 as seconds; Pydantic tells seconds from milliseconds."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if _MICROSECONDS <= value < _NANOSECONDS:
        return datetime.fromtimestamp(value / 1e6, UTC)
    if _NANOSECONDS <= value < 10**_DIGITS:
        return datetime.fromtimestamp(value / 1e9, UTC)
    return value


Time = Annotated[datetime, BeforeValidator(_of_epoch), AfterValidator(as_utc)]


class ToolCall(BaseModel):
    id: str | None = None
    name: str
    arguments: str


class Message(BaseModel):
    role: str
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None
    at: Time | None = None
    finish_reason: str | None = None


class Tool(BaseModel):
    name: str
    description: str | None = None
    parameters: str | None = None
    read_only: bool | None = None


class Conversation(BaseModel):
    """A conversation with the line (or row, or record) it came from. Times without an offset are
    taken as UTC. An empty `conversation_id` is none: it gets one from its file and line."""

    line: int
    conversation_id: str = ""
    user_id: str | None = None
    started_at: Time | None = None
    surface: str | None = None
    language: str | None = None
    reported_model: str | None = None
    training_allowed: bool | None = None
    is_temporary: bool = False
    has_attachments: bool = False
    messages: list[Message]
    tools: list[Tool] | None = None
    tools_inferred: bool | None = None
    commit: str | None = None
    source: str | None = None

    def row(self, model_version: str, log_file: str | None = None) -> dict[str, Any]:
        """The row of the conversations table (schema.CONVERSATIONS)."""
        row = self.model_dump(exclude={"line"})
        row |= {"model_version": model_version, "log_file": log_file, "log_line": self.line}
        return row


class Whose(NamedTuple):
    """A conversation and its user by their ids."""

    conversation_id: str
    user_id: str | None


class Reject(NamedTuple):
    """A line that could not be taken. The reason never holds text of the line."""

    line: int
    reason: str


class Reader(Protocol):
    """A format's reader: a stream of bytes becomes conversations and rejects, one at a time."""

    def __call__(self, stream: BinaryIO, /) -> Iterator[Conversation | Reject]: ...


def rejected(line: int, wrong: ValidationError) -> Reject:
    """The reject of a line that does not hold to its format: where, and what is expected there,
    never what stands there."""
    first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return Reject(line, f"{where}: {first['msg']}" if where else first["msg"])
