"""Requests to a model and its answers, as tracers and gateways keep them -> the dialog that they
are.

The interfaces are OpenAI's chat, completions and Responses, Anthropic's messages, Gemini's
contents, and LangChain's runs.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

from deploysim_assets.logs.chunks import assembled
from deploysim_assets.logs.conversation import Message
from deploysim_assets.logs.dialog import ROLES, message, messages
from deploysim_assets.logs.parts import DialogError, parsed
from deploysim_assets.schema import finish_reason

_ASKED = ("contents", "input", "question", "query", "prompt", "text", "inputs")
_ANSWERED = ("output", "answer", "response", "completion", "text", "result", "outputs")
_GEMINI: dict[int, str] = {1: "stop", 2: "length", 3: "content_filter", 4: "content_filter"}
_SHAPES = frozenset({"messages", "streamed_data", "contents", "choices", "candidates",
                     "generations", "output", "input", "role", "prompt", "prompts", "content",
                     "lc", "message"})  # fmt: skip


def asked(value: Any, where: str = "input") -> list[Message]:
    """The messages that a request sends: instructions first, then the dialog so far. A text is the
    user's; None is none."""
    value = _read(value)
    if not isinstance(value, dict):
        return _listed(value, "user", where)
    if _is_message(value):
        return message(value, "user", where)
    first: list[Message] = []
    for name in ("system", "instructions", "systemInstruction", "system_instruction"):
        if value.get(name):
            held = parsed(value[name]) if not isinstance(value[name], str) else value[name]
            body = held if isinstance(held, dict) else {"content": held}
            first += message(body | {"role": "system"}, "system", f"{where}.{name}")
    for name in ("messages", "contents", "input", "prompt", "prompts"):
        held = parsed(value.get(name)) if name in ("messages", "contents") else value.get(name)
        if isinstance(held, list):
            return first + messages(held, "user", f"{where}.{name}")
        if isinstance(held, dict):
            return first + asked(held, f"{where}.{name}")
    return [*first, Message(role="user", content=_only_text(value, _ASKED, where))]


def answered(value: Any, where: str = "output") -> list[Message]:
    """The messages that an answer holds, also one that was logged chunk by chunk; of several
    choices the first. A text is the model's; None is none."""
    value = assembled(_read(value), where)
    if not isinstance(value, dict):
        return _listed(value, "assistant", where)
    for name, take in (
        ("choices", _first_choice),
        ("candidates", _first_choice),
        ("generations", _generation),
    ):
        if isinstance(value.get(name), list):
            return take(value[name], f"{where}.{name}")
    if isinstance(value.get("output"), list):
        return _responses(value, where)
    if _is_message(value):
        return message(value, "assistant", where)
    for name in ("messages", "message", "output", "response"):
        held = value.get(name)
        if isinstance(held, list | dict):
            return answered(held, f"{where}.{name}")
    return [Message(role="assistant", content=_only_text(value, _ANSWERED, where))]


def _listed(value: Any, role: str, where: str) -> list[Message]:
    if value is None:
        return []
    if isinstance(value, str):
        return [Message(role=role, content=value)]
    if isinstance(value, list):
        return messages(value, role, where)
    raise DialogError(f"{where}: Input should be a text, messages, or an object with some")


def _only_text(value: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    texts = [value[name] for name in names if isinstance(value.get(name), str)]
    if len(texts) != 1:
        raise DialogError(f"{where}: no messages, and no one text")
    return texts[0]


def exchange(request: Any, answer: Any) -> list[Message]:
    """The whole dialog of a call: what was asked, and what came back. An answer that repeats the
    dialog (an agent's state) is taken alone."""
    before, after = asked(request), answered(answer)
    same = [(m.role, m.content) for m in before]
    if len(after) > len(before) > 0 and [(m.role, m.content) for m in after[: len(same)]] == same:
        return after
    return before + after


def _is_message(value: dict[str, Any]) -> bool:
    role = value.get("role") or value.get("type")
    said = isinstance(role, str) and role in ROLES | {"message": ""}
    return said or value.get("lc") == 1 or bool({"content", "parts", "tool_calls"} & value.keys())


def _read(value: Any) -> Any:
    """JSON in a text as what it says, where that is a dialog and not what somebody wrote."""
    read = parsed(value)
    if not isinstance(value, str) or isinstance(read, str):
        return read
    if isinstance(read, dict):
        return read if _SHAPES & read.keys() else value
    if isinstance(read, list) and read:
        first = read[0][0] if isinstance(read[0], list) and read[0] else read[0]
        if isinstance(first, dict) and {"role", "type", "lc", "choices"} & first.keys():
            return read
    return value


def _first_choice(choices: list[Any], where: str) -> list[Message]:
    if not choices:
        return []
    choice = choices[0]
    if not isinstance(choice, dict):
        raise DialogError(f"{where}.0: Input should be an object")
    held = choice.get("message") or choice.get("content") or choice.get("delta")
    if held is None:
        held = {"role": "assistant", "content": choice.get("text")}
    found = message(held, "assistant", f"{where}.0")
    said = next((choice[k] for k in ("finish_reason", "finishReason", "stop_reason")
                 if choice.get(k)), None)  # fmt: skip
    said = _GEMINI.get(said, said) if isinstance(said, int) else said
    if found and found[-1].finish_reason is None:
        found[-1].finish_reason = finish_reason(said)
    return found


def _generation(generations: list[Any], where: str) -> list[Message]:
    """LangChain's result of a model: [[{message, text, generation_info}]]."""
    first = generations[0] if generations else None
    if isinstance(first, list):
        first = first[0] if first else None
    if first is None:
        return []
    if not isinstance(first, dict):
        raise DialogError(f"{where}.0: Input should be an object")
    held = first.get("message") or {"role": "assistant", "content": first.get("text")}
    found = message(held, "assistant", f"{where}.0")
    told = first.get("generation_info")
    if found and found[-1].finish_reason is None and isinstance(told, dict):
        found[-1].finish_reason = finish_reason(
            told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason")
        )
    return found


def _responses(value: dict[str, Any], where: str) -> list[Message]:
    """OpenAI's Responses: output items, and why the last one ends where it does."""
    found = messages(value["output"], "assistant", f"{where}.output")
    status, why = value.get("status"), value.get("incomplete_details")
    said = why.get("reason") if isinstance(why, dict) else None
    if found and found[-1].finish_reason is None and status is not None:
        calls = found[-1].tool_calls and "tool_calls"
        found[-1].finish_reason = finish_reason(
            said or (calls or "stop" if status == "completed" else status)
        )
    return found
