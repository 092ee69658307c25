"""Tools that a conversation declares, as interfaces and tracers write them, and those that can only
be told from its calls."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable
from typing import Any

import orjson

from deploysim_assets.logs.conversation import Conversation, Message, Tool
from deploysim_assets.logs.parts import as_json_text, parsed
from deploysim_assets.logs.records import text

_LISTED_UNDER = ("tools", "functionDeclarations", "function_declarations", "functions", "result")
_INSIDE = ("function", "custom", "toolSpec", "tool", "json_schema")
_SCHEMA = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema", "schema")
_MOST = 1_000
_DEEP = 6
_JSON_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def definitions(*values: Any) -> list[Tool] | None:
    """The tools of the first of some values that holds any: a list or an object of definitions of
    OpenAI, Anthropic, Gemini, Bedrock, MCP or OpenTelemetry, or their JSON text. A name that stands
    twice counts once. None where there is none; what is no definition is passed over."""
    for value in values:
        found: dict[str, Tool] = {}
        for tool in _tools(value, 0):
            if len(found) < _MOST:
                found.setdefault(tool.name, tool)
        if found:
            return list(found.values())
    return None


def _tools(value: Any, deep: int) -> Iterable[Tool]:
    value = parsed(value)
    if deep > _DEEP:
        return
    if isinstance(value, list):
        for item in value:
            yield from _tools(item, deep + 1)
    elif isinstance(value, dict):
        listed = [value[k] for k in _LISTED_UNDER if isinstance(parsed(value.get(k)), list | dict)]
        if listed and not isinstance(value.get("name"), str):
            for inner in listed:
                yield from _tools(inner, deep + 1)
            return
        inside = next((i for k in _INSIDE if isinstance(i := parsed(value.get(k)), dict)), None)
        if inside is not None:
            yield from _tools({"type": value.get("type")} | inside, deep + 1)
        elif (tool := _tool(value)) is not None:
            yield tool


def _tool(value: dict[str, Any]) -> Tool | None:
    name = value.get("name")
    if not isinstance(name, str):  # a tool of the provider's own: {"type": "web_search"}
        name = value.get("type")
    if not isinstance(name, str) or not name or name in ("function", "custom"):
        return None
    schema = next((s for k in _SCHEMA if (s := parsed(value.get(k))) is not None), None)
    if isinstance(schema, dict) and isinstance(schema.get("json"), dict):  # Bedrock
        schema = schema["json"]
    about = value.get("description")
    hints = value.get("annotations")
    said = value.get("read_only")
    if isinstance(hints, dict):
        said = hints.get("readOnlyHint", said)
    return Tool(
        name=name,
        description=about if isinstance(about, str) else None,
        parameters=as_json_text(schema) if isinstance(schema, dict) else None,
        read_only=said if isinstance(said, bool) else None,
    )


def tools_in(request: Any) -> list[Tool] | None:
    """The tools that a request to a model offers."""
    request = parsed(request)
    if not isinstance(request, dict):
        return None
    config = request.get("toolConfig")
    kwargs = request.get("kwargs")
    return definitions(
        request.get("tools"),
        request.get("functions"),
        config.get("tools") if isinstance(config, dict) else None,
        kwargs.get("tools") if isinstance(kwargs, dict) else None,
    )


def complete(item: Conversation) -> None:
    """Say of a conversation which tools it has where its log does not: those that it called."""
    if item.tools is None:
        item.tools = inferred(item.messages)
        item.tools_inferred = True if item.tools else None
    else:
        item.tools_inferred = bool(item.tools_inferred)


def inferred(messages: Iterable[Message]) -> list[Tool] | None:
    """The tools that calls name, in their order, each with the arguments that any call of it gave
    and their JSON types; None without a call."""
    seen: dict[str, dict[str, list[str]]] = {}
    for message in messages:
        for call in message.tool_calls or ():
            if call.name not in seen and len(seen) >= _MOST:
                continue
            keys = seen.setdefault(call.name, {})
            for key, value in _arguments(call.arguments).items():
                kinds = keys.setdefault(key, [])
                kind = _JSON_TYPES[type(value)]
                if kind not in kinds:
                    kinds.append(kind)
    tools: list[Tool] = []
    for name, keys in seen.items():
        properties = {k: {"type": t[0] if len(t) == 1 else sorted(t)} for k, t in keys.items()}
        schema = {"type": "object", "properties": properties}
        tools.append(Tool(name=name, parameters=as_json_text(schema)))
    return tools or None


def _arguments(written: str) -> dict[str, Any]:
    try:
        found = orjson.loads(written)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def commit_in(*records: Any) -> str | None:
    """The commit that the first of some records names: of the repository that an agent worked
    on."""
    names = ("commit", "base_commit", "git_commit", "vcs.ref.head.revision")
    told = (text(parsed(record), *names) for record in records)
    return next((commit for commit in told if commit), None)
