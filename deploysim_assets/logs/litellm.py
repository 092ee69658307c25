"""The `litellm` format: LiteLLM's StandardLoggingPayload, as its callbacks write it to files and
buckets, or rows of its spend logs, as JSON or JSON lines.

A conversation is a session (`litellm_session_id`, logged as trace_id or session_id), or where there
is none a request.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, call_of, longest
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.exchange import exchange
from deploysim_assets.logs.parts import attached, parsed
from deploysim_assets.logs.records import checked, held, rest, text
from deploysim_assets.logs.tables import paged
from deploysim_assets.logs.tools import tools_in

_OTHER = ("embedding", "image", "transcription", "speech", "moderation", "rerank")
_REDACTED = "redacted-by-litellm"
_BODIES = ("messages", "response", "proxy_server_request", "model_map_information",
           "hidden_params", "standard_logging_object")  # fmt: skip


def _one(number: int, call: dict[str, Any]) -> Conversation | Reject:
    sent = parsed(call.get("proxy_server_request"))
    asked = parsed(call.get("messages")) or held(sent, "body") or sent
    dialog = exchange(asked or None, parsed(call.get("response")) or None)
    if not dialog:
        return Reject(number, "no messages; let LiteLLM log them (store_prompts_in_spend_logs)")
    if any(m.content == _REDACTED for m in dialog):
        return Reject(number, "LiteLLM redacted the texts; turn off its message logging switch")
    about = call.get("metadata")
    more = held(about, "requester_metadata", "spend_logs_metadata")
    consent = held(more, "training_allowed")
    return Conversation(
        line=number,
        conversation_id=text(call, "id", "request_id") or "",
        user_id=text(call, "end_user") or text(about, "user_api_key_end_user_id"),
        started_at=held(call, "startTime", "start_time"),
        surface=text(more, "surface"),
        language=text(more, "language"),
        reported_model=text(call, "model"),
        training_allowed=consent if isinstance(consent, bool) else None,
        has_attachments=attached(dialog),
        messages=dialog,
        tools=tools_in(call.get("model_parameters"))
        or tools_in(call.get("optional_params"))
        or tools_in(held(sent, "body") or sent),
        source=rest(call, *_BODIES),
    )


def _call(number: int, call: dict[str, Any]) -> Call | Reject:
    payload = call.get("standard_logging_object")
    if isinstance(payload, dict):
        call = payload
    if not {"call_type", "response", "request_id"} & call.keys():
        return Reject(number, "not a record of LiteLLM")
    kind = call.get("call_type")
    if isinstance(kind, str) and any(other in kind for other in _OTHER):
        return Reject(number, "a call of another kind than chat")
    if call.get("status") == "failure":
        return Reject(number, "the request was not answered: LiteLLM logged a failure")
    item = checked(number, call, _one)
    if isinstance(item, Reject):
        return item
    return call_of(item.conversation_id, text(call, "session_id", "trace_id"), item)


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, one in paged(stream, "data"):
        yield number, checked(number, one, _call)


read = CallReader(_calls, longest)
