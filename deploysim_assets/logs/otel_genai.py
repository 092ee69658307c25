"""The `otel_genai` format: OpenTelemetry's GenAI semantic conventions as OTLP JSON of traces or
logs, or as the SDK prints spans.

Messages are taken from the attributes of the conventions of 2025 and 2026 (on spans, or on the
event `gen_ai.client.inference.operation.details`), from the events of those before them (on spans,
or as log records), or from OpenLLMetry's numbered attributes. A conversation is
`gen_ai.conversation.id`, or where there is none a trace.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from typing import Any, BinaryIO

from deploysim_assets.logs.calls import Call, CallReader, Found, Trace
from deploysim_assets.logs.conversation import Conversation, Message, Reject, Tool
from deploysim_assets.logs.dialog import messages
from deploysim_assets.logs.exchange import answered, asked
from deploysim_assets.logs.parts import DialogError, as_json_text, attached, parsed
from deploysim_assets.logs.records import Problem, held, json_records, text
from deploysim_assets.logs.spans import Span, spans_of, tree, when
from deploysim_assets.logs.tools import commit_in, definitions
from deploysim_assets.schema import finish_reason

_CALLS = frozenset({"chat", "text_completion", "generate_content", "invoke_agent"})
_OLD_EVENTS = {
    f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")
} | {"gen_ai.choice": "assistant"}
_NEW = ("gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages")
_NUMBERED = ("gen_ai.prompt.", "gen_ai.completion.")
_WITHOUT = "the trace's last model call carries no messages; record content in attributes or events"


def _is_call(span: Span) -> bool:
    a = span.attributes
    return (
        text(a, "gen_ai.operation.name") in _CALLS
        or "gen_ai.request.model" in a
        or any(name in a for name in _NEW)
        or any(e["name"].startswith("gen_ai.") for e in span.events)
    )


def _calls(stream: BinaryIO) -> Iterator[tuple[int, Call | Reject]]:
    for number, record in json_records(stream):
        if isinstance(record, Problem):
            yield number, Reject(number, record.reason)
            continue
        spans = list(spans_of(record))
        if not spans and not ("resourceSpans" in record or "resourceLogs" in record
                              if isinstance(record, dict) else False):  # fmt: skip
            yield number, Reject(number, "not an OTLP record")
        for span in spans:
            told = [span.attributes, *(e["attributes"] for e in span.events)]
            session = next((s for a in told if (s := text(a, "gen_ai.conversation.id"))), None)
            user = next((u for a in told if (u := text(a, "user.id", "enduser.id"))), None)
            body = span._asdict() if _is_call(span) else None
            if body or session or user:
                yield number, Call(span.trace, session, user, span.at, body)


def _from_new(attributes: dict[str, Any]) -> list[Message]:
    """Messages of the current conventions."""
    system = parsed(attributes.get(_NEW[0]))
    found: list[Message] = []
    if system:
        parts = system if isinstance(system, list | str) else [system]
        found += messages([{"role": "system", "content": parts}], where="system_instructions")
    for name, role in ((_NEW[1], "user"), (_NEW[2], "assistant")):
        said = parsed(attributes.get(name))
        if said is not None:
            found += messages(said, role, name.removeprefix("gen_ai."))
    return found


def _from_events(events: list[dict[str, Any]]) -> list[Message]:
    """Messages of the earlier conventions: one event per message, or one for all that was asked
    and one for what was answered."""
    found: list[Message] = []
    for event in events:
        body = parsed(event["body"]) if isinstance(event["body"], str) else event["body"]
        said = event["attributes"] | (body if isinstance(body, dict) else {})
        role = _OLD_EVENTS.get(event["name"])
        if role is None:
            found += asked(said.get("gen_ai.prompt"))
            found += answered(said.get("gen_ai.completion"))
            continue
        inner = parsed(said.get("message"))
        if isinstance(inner, dict):
            said |= inner
        elif isinstance(inner, str):
            said |= {"content": inner}
        content = parsed_parts(said.get("content"))
        given = {
            "role": role,
            "content": content,
            "tool_calls": parsed(said.get("tool_calls")),
            "tool_call_id": said.get("id") if role == "tool" else None,
            "name": said.get("name"),
            "finish_reason": said.get("finish_reason"),
        }
        found += messages([given], where=event["name"].removeprefix("gen_ai."))
    return found


def parsed_parts(content: Any) -> Any:
    """A content that is a list of parts as JSON text as that list; any other as the text that it
    is."""
    read = parsed(content)
    if isinstance(read, list) and read and all(isinstance(p, dict) and "type" in p for p in read):
        return read
    if content is None or isinstance(content, str | list):
        return content
    return as_json_text(content)


def _from_numbered(attributes: dict[str, Any]) -> list[Message]:
    """Messages of OpenLLMetry: gen_ai.prompt.0.role, gen_ai.completion.0.finish_reason."""
    found: list[Message] = []
    named = {k: v for k, v in attributes.items() if k.startswith(_NUMBERED)}
    if named:
        held_in = tree(named)["gen_ai"]
        for name, role in (("prompt", "user"), ("completion", "assistant")):
            listed = held_in.get(name)
            if isinstance(listed, list):
                given = [
                    m | {"content": parsed_parts(m.get("content"))} if isinstance(m, dict) else m
                    for m in listed
                ]
                found += messages(given, role, name)
    return found


def _said(attributes: dict[str, Any], events: list[dict[str, Any]]) -> list[Message]:
    details = [e["attributes"] for e in events if e["name"].endswith("operation.details")]
    found = (
        _from_new(attributes | (details[-1] if details else {}))
        or _from_events(events)
        or _from_numbered(attributes)
    )
    told = held(attributes, "gen_ai.response.finish_reasons")
    if found and found[-1].role == "assistant" and found[-1].finish_reason is None and told:
        found[-1].finish_reason = finish_reason(told[0] if isinstance(told, list) else told)
    return found


def _tools(attributes: dict[str, Any]) -> list[Tool] | None:
    """The tools of the current conventions, else OpenLLMetry's numbered ones."""
    named = {k: v for k, v in attributes.items() if k.startswith("llm.request.functions.")}
    numbered = held(held(held(tree(named), "llm"), "request"), "functions")
    return definitions(attributes.get("gen_ai.tool.definitions"), numbered)


def _found_in(trace: Trace) -> Iterator[Found]:
    """The longest model call of a trace, of equal ones the last; log records come to the span that
    they belong to. A trace without a call is passed over, one without messages is rejected."""
    best: tuple[list[Message], int, int, dict[str, Any], dict[str, Any]] | None = None
    why: Found | None = None
    first = 0
    for file, line, attributes, events, resource, at in _joined(trace):
        first = first or at
        try:
            dialog = _said(attributes, events)
        except DialogError as wrong:
            why = Found(file, Reject(line, str(wrong)))
            continue
        if not dialog:
            why = why or Found(file, Reject(line, _WITHOUT))
        elif best is None or len(dialog) >= len(best[0]):
            best = dialog, file, line, attributes, resource
    if best is not None:
        dialog, file, line, attributes, resource = best
        consent = attributes.get("deploysim.training_allowed")
        found = Conversation(
            line=line,
            conversation_id=trace.name,
            user_id=text(attributes, "user.id", "enduser.id") or trace.user,
            started_at=when(first),
            surface=text(attributes, "deploysim.surface"),
            language=text(attributes, "deploysim.language"),
            reported_model=text(attributes, "gen_ai.response.model", "gen_ai.request.model"),
            training_allowed=consent if isinstance(consent, bool) else None,
            has_attachments=attached(dialog),
            messages=dialog,
            tools=_tools(attributes),
            commit=commit_in(attributes, resource),
            source=as_json_text({"resource": resource, "trace": trace.name}),
        )
        yield Found(file, found)
    elif why is not None:
        yield why


_Joined = tuple[int, int, dict[str, Any], list[dict[str, Any]], dict[str, Any], int]


def _joined(trace: Trace) -> Iterator[_Joined]:
    """The calls of a trace with the log records that belong to them, one call at a time as far as
    their order allows."""
    waiting: dict[str, _Joined] = {}
    for row in trace.rows:
        name, at = row.body["id"], row.body["at"]
        attributes, events = row.body["attributes"], row.body["events"]
        before = waiting.pop(name, None) if name else None
        if before is not None:
            attributes, events = before[2] | attributes, before[3] + events
        told = next((e["attributes"] for e in events if e["attributes"]), {})
        merged = told | attributes if not row.body["attributes"] else attributes
        waiting[name or f"{row.file}/{row.line}/{len(waiting)}"] = (
            row.file,
            row.line,
            merged,
            events,
            row.body["resource"],
            before[5] if before else at,
        )
        if len(waiting) > 64:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


read = CallReader(_calls, _found_in)
