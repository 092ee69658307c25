"""The `helicone` format: requests with their bodies as Helicone exports them (`npx @helicone/export
--include-body`, or its query interface), as JSON or JSON lines.

A conversation is a Helicone session, or where there is none a request.
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

_BODIES = ("request_body", "response_body", "signed_body_url", "llmSchema", "asset_urls",
           "request_prompt", "response_prompt")  # fmt: skip


def _one(number: int, call: dict[str, Any]) -> Conversation | Reject:
    status = call.get("response_status")
    if isinstance(status, int) and not 200 <= status < 300:
        return Reject(number, "the request was not answered: its status is an error's")
    request, answer = parsed(call.get("request_body")), parsed(call.get("response_body"))
    dialog = exchange(request or None, answer or None)
    if not dialog:
        return Reject(number, "no request_body; export with --include-body")
    about = parsed(held(call, "request_properties", "properties"))
    return Conversation(
        line=number,
        conversation_id=text(call, "request_id", "response_id") or "",
        user_id=text(call, "request_user_id", "user_id", "helicone_user"),
        started_at=held(call, "request_created_at", "created_at"),
        surface=text(about, "surface", "Surface"),
        language=text(about, "language", "Language"),
        reported_model=text(call, "response_model", "model", "request_model")
        or text(request, "model"),
        has_attachments=attached(dialog),
        messages=dialog,
        tools=tools_in(request),
        source=rest(call, *_BODIES),
    )


def _call(number: int, call: dict[str, Any]) -> Call | Reject:
    if not {"request_id", "response_id", "request_body"} & call.keys():
        return Reject(number, "not a request of Helicone")
    session = text(
        parsed(held(call, "request_properties", "properties")),
        "Helicone-Session-Id",
        "helicone-session-id",
    )
    item = checked(number, call, _one)
    if isinstance(item, Reject):
        return item
    return call_of(text(call, "request_id", "response_id") or "", session, item)


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, one in paged(stream, "data"):
        yield number, checked(number, one, _call)


read = CallReader(_calls, longest)
