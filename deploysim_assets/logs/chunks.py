"""Streams that a gateway logged as they came, chunk by chunk -> the one answer that they tell, in
its interface's own shape: OpenAI's chat and text chunks, the events of its Responses and of
Anthropic's messages, as a list or as server-sent events in a text."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from typing import Any

import orjson

from deploysim_assets.logs.parts import DialogError
from deploysim_assets.logs.records import held

_SSE = re.compile(r"\s*(?:event:[^\n]*\n)?data:")
_ANTHROPIC = ("message_start", "content_block_start", "content_block_delta", "message_delta")
_GROWN = ("content", "reasoning_content", "reasoning", "refusal")
_OF_BLOCK = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_ENDS = ("response.completed", "response.incomplete")


def assembled(value: Any, where: str) -> Any:
    """The answer that chunks tell; any other value as it is. DialogError where the stream ends
    before its answer does: what came of it is no answer."""
    chunks = _chunks(value)
    if chunks is None:
        return value
    if any(held(c, "error") or c.get("type") == "error" for c in chunks):
        raise DialogError(f"{where}: the stream ends with an error")
    kinds = {c.get("type") for c in chunks if isinstance(c.get("type"), str)}
    if kinds & set(_ANTHROPIC):
        return _of_anthropic(chunks, where)
    if any(str(k).startswith("response.") for k in kinds):
        ended = [
            c for c in chunks if c.get("type") in _ENDS and isinstance(held(c, "response"), dict)
        ]
        if not ended:
            raise _broken(where)
        if len(ended) > 1:
            raise _goes_on(where)
        return ended[0]["response"]
    return _of_openai(chunks, where)


def _broken(where: str) -> DialogError:
    return DialogError(f"{where}: the stream breaks off before the answer ends")


def _goes_on(where: str) -> DialogError:
    return DialogError(f"{where}: the stream goes on behind the end of its answer: which is it?")


def _chunks(value: Any) -> list[dict[str, Any]] | None:
    """The chunks of a stream, without those that are none; None where it is no stream."""
    if isinstance(value, dict):
        streamed = value.get("streamed_data")
        whole = bool({"choices", "content", "output"} & value.keys())
        return _chunks(streamed) if streamed and not whole else None
    if isinstance(value, str):
        return _of_events(value) if _SSE.match(value) else None
    if not isinstance(value, list) or not value:
        return None
    found = [c for c in value if isinstance(c, dict)]
    return found if len(found) == len(value) and any(map(_is_chunk, found)) else None


def _is_chunk(chunk: dict[str, Any]) -> bool:
    kind, named = chunk.get("type"), chunk.get("object")
    if isinstance(named, str) and named.endswith(".chunk"):
        return True
    if isinstance(kind, str) and "role" not in chunk:
        return kind in _ANTHROPIC or kind.startswith("response.")
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(isinstance(held(c, "delta"), dict) for c in choices)


def _of_events(text: str) -> list[dict[str, Any]]:
    chunks: list[dict[str, Any]] = []
    for line in text.split("\n"):
        said = line.strip().removeprefix("data:").strip()
        if not line.lstrip().startswith("data:") or said in ("", "[DONE]"):
            continue
        try:
            chunk = orjson.loads(said)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            raise DialogError("the stream holds an event that is no JSON")
        chunks.append(chunk)
    return chunks


def _of_openai(chunks: list[dict[str, Any]], where: str) -> dict[str, Any]:
    """The first choice. Its last chunk says why it ends."""
    said: dict[str, Any] = {"role": "assistant"}
    calls: dict[Any, dict[str, Any]] = {}
    texts, ended = list[str](), None
    for chunk in chunks:
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if not isinstance(choice, dict) or choice.get("index") not in (0, None):
                continue
            delta = held(choice, "delta", "message")
            if ended is not None and (choice.get("text") or _says(delta)):
                raise _goes_on(where)
            ended = choice.get("finish_reason") or ended
            if isinstance(choice.get("text"), str):
                texts.append(choice["text"])
            if isinstance(delta, dict):
                _grow(said, calls, delta)
    if ended is None:
        raise _broken(where)
    if texts:
        return {"choices": [{"text": "".join(texts), "finish_reason": ended}]}
    if calls:
        said["tool_calls"] = list(calls.values())
    return {"choices": [{"message": said, "finish_reason": ended}]}


def _says(delta: Any) -> bool:
    return any(held(delta, name) for name in (*_GROWN, "tool_calls", "function_call"))


def _grow(said: dict[str, Any], calls: dict[Any, dict[str, Any]], delta: dict[str, Any]) -> None:
    for name in _GROWN:
        if isinstance(delta.get(name), str):
            said[name] = said.get(name, "") + delta[name]
    named = [c for c in delta.get("tool_calls") or () if isinstance(c, dict)]
    if isinstance(delta.get("function_call"), dict):
        named.append({"index": "single", "function": delta["function_call"]})
    for call in named:
        whole = calls.setdefault(
            call.get("index", 0), {"type": "function", "function": {"name": "", "arguments": ""}}
        )
        if call.get("id"):
            whole["id"] = call["id"]
        for part in ("name", "arguments"):
            more = held(call.get("function"), part)
            whole["function"][part] += more if isinstance(more, str) else ""


def _of_anthropic(chunks: list[dict[str, Any]], where: str) -> dict[str, Any]:
    blocks: dict[Any, dict[str, Any]] = {}
    ended = None
    for chunk in chunks:
        delta = chunk.get("delta")
        if ended is not None and str(chunk.get("type")).startswith("content_block_"):
            raise _goes_on(where)
        if chunk.get("type") == "content_block_start":
            began = held(chunk, "content_block")
            blocks[chunk.get("index")] = dict(began) if isinstance(began, dict) else {}
        elif chunk.get("type") == "content_block_delta" and isinstance(delta, dict):
            block = blocks.setdefault(chunk.get("index"), {"type": "text", "text": ""})
            part = _OF_BLOCK.get(str(delta.get("type")))
            more = delta.get(part) if part else None
            if part and isinstance(more, str):
                block[part] = (block.get(part) or "") + more
        elif chunk.get("type") == "message_delta":
            ended = held(delta, "stop_reason") or ended
    if ended is None:
        raise _broken(where)
    for block in blocks.values():
        if arguments := block.pop("partial_json", None):
            block["input"] = arguments
    return {"role": "assistant", "content": list(blocks.values()), "stop_reason": ended}
