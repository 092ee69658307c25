"""The `openinference` format: spans of OpenInference (Arize Phoenix), as OTLP JSON or as the SDK
prints them. A conversation is `session.id`, or where there is none a trace: the longest of its LLM
spans."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, call_of, longest
from deploysim_assets.logs.conversation import Conversation, Message, Reject, Tool
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.exchange import exchange
from deploysim_assets.logs.parts import as_json_text, attached, parsed
from deploysim_assets.logs.records import Problem, checked, held, json_records, text
from deploysim_assets.logs.spans import Span, spans_of, tree, when
from deploysim_assets.logs.tools import commit_in, definitions, tools_in
from deploysim_assets.schema import finish_reason

_MESSAGES = ("llm.input_messages", "llm.output_messages")


def _plain(item: Any) -> Any:
    """A message as the chat interface writes it."""
    inner = held(item, "message")
    if not isinstance(inner, dict):
        return item
    parts = inner.get("contents")
    given = dict(inner) | {
        "content": held(inner, "content"),
        "tool_calls": inner.get("tool_calls"),
    }
    if isinstance(parts, list):
        given["content"] = [_part(p) for p in parts]
        if isinstance(inner.get("content"), str) and inner["content"]:
            given["content"].insert(0, {"type": "text", "text": inner["content"]})
    if name := text(inner, "function_call_name"):
        arguments = held(inner, "function_call_arguments_json")
        given["function_call"] = {"name": name, "arguments": arguments}
    return given


def _part(part: Any) -> Any:
    inner = held(part, "message_content")
    if not isinstance(inner, dict):
        return part
    given = dict(inner)
    if isinstance(picture := held(inner, "image"), dict):
        given["image"] = held(picture.get("image"), "url") or picture
    if isinstance(call := held(part, "tool_call"), dict):
        given |= call
        given["type"] = "tool_call"
    return given


def _dialog(attributes: dict[str, Any]) -> list[Message]:
    named = {k: v for k, v in attributes.items() if k.startswith(_MESSAGES)}
    model = held(tree(named), "llm")
    before, after = held(model, "input_messages"), held(model, "output_messages")
    if before is None and after is None:
        return exchange(attributes.get("input.value"), attributes.get("output.value"))
    found: list[Message] = []
    for listed, role, where in ((before, "user", "input_messages"),
                                (after, "assistant", "output_messages")):  # fmt: skip
        if listed is not None:
            given = [_plain(m) for m in listed] if isinstance(listed, list) else listed
            found += messages(given, role, where)
    return found


def _tools(attributes: dict[str, Any]) -> list[Tool] | None:
    named = {k: v for k, v in attributes.items() if k.startswith("llm.tools")}
    listed = held(held(tree(named), "llm"), "tools")
    params = parsed(attributes.get("llm.invocation_parameters"))
    return definitions(listed) or tools_in(params) or tools_in(attributes.get("input.value"))


def _one(number: int, span: Span) -> Conversation | Reject:
    attributes = span.attributes
    dialog = _dialog(attributes)
    if not dialog:
        return Reject(number, "an LLM span without messages; record inputs and outputs")
    if dialog[-1].role == "assistant" and dialog[-1].finish_reason is None:
        dialog[-1].finish_reason = finish_reason(attributes.get("llm.finish_reason"))
    about = parsed(attributes.get("metadata"))
    consent = held(about, "training_allowed")
    return Conversation(
        line=number,
        conversation_id=span.trace,
        user_id=text(attributes, "user.id"),
        started_at=when(span.at),
        surface=text(about, "surface"),
        language=text(about, "language"),
        reported_model=text(
            attributes, "llm.response.model_name", "llm.model_name", "llm.request.model_name"
        ),
        training_allowed=consent if isinstance(consent, bool) else None,
        has_attachments=attached(dialog),
        messages=dialog,
        tools=_tools(attributes),
        commit=commit_in(about, attributes, span.resource),
        source=as_json_text({"resource": span.resource, "trace": span.trace, "metadata": about}),
    )


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, record in json_records(stream):
        if isinstance(record, Problem):
            yield number, Reject(number, record.reason)
            continue
        spans = list(spans_of(record))
        if not spans and held(record, "resourceSpans") is None:
            yield number, Reject(number, "not a span")
        for span in spans:
            session, user = text(span.attributes, "session.id"), text(span.attributes, "user.id")
            if span.attributes.get("openinference.span.kind") == "LLM":
                item = checked(number, {}, lambda n, _, span=span: _one(n, span))
                call = call_of(span.trace, session, item, user)
                yield number, call._replace(at=span.at)
            elif session or user:
                yield number, Call(span.trace, session, user, span.at, None)


read = CallReader(_calls, longest)
