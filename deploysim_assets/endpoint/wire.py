"""The two text interfaces of the API, chat completions and responses: request bodies, answers,
and what an error means."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import orjson

Api = Literal["chat", "responses"]
PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "responses": "/responses"}
_FILTERS = ("content_filter", "content_policy_violation", "moderation_blocked")
_STOPS = {
    "model_not_found": "has no such model",
    "insufficient_quota": "says that the quota is used up",
    "billing_hard_limit_reached": "says that billing stopped",
}
_RETRIED = frozenset({408, 409, 429})


class MalformedError(Exception):
    """A response with status 200 that is no answer."""


def request_key(body: dict[str, Any]) -> str:
    """SHA-256 over everything that determines the answer: the request's whole body."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def sent_body(body: dict[str, Any], api: Api) -> dict[str, Any]:
    """A chat request as the interface takes it."""
    if api == "chat":
        return body
    sent: dict[str, Any] = {
        "input": [item for message in body["messages"] for item in _input_items(message)]
    }
    renamed = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
    for name, value in body.items():
        if name == "response_format":
            sent["text"] = {"format": {"type": value["type"], **value.get("json_schema", {})}}
        elif name == "reasoning_effort":
            sent["reasoning"] = {"effort": value, "summary": "auto"}
        elif name == "tools":
            sent["tools"] = [{"type": "function", **tool["function"]} for tool in value]
        elif name not in ("messages", "seed"):  # the interface has no seed
            sent[renamed.get(name, name)] = value
    return sent


def _input_items(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [
            {
                "type": "function_call_output",
                "call_id": message.get("tool_call_id"),
                "output": message["content"] or "",
            }
        ]
    items: list[dict[str, Any]] = []
    if message["content"]:
        items.append({"role": message["role"], "content": message["content"]})
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    called = (
        {
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }
        for call in calls
    )
    return items + [{"type": "function_call"} | call for call in called]


def answer(raw: bytes, api: Api) -> dict[str, Any]:
    """What a response says: status, content, reasoning, tool calls, tokens. MalformedError where
    it is none."""
    try:
        body: dict[str, Any] = orjson.loads(raw)
        return (_chat_answer if api == "chat" else _responses_answer)(body)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as wrong:
        raise MalformedError(f"the response is no answer ({type(wrong).__name__})") from None


def _chat_answer(body: dict[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = body["choices"][0]
    usage: dict[str, Any] = body.get("usage") or {}
    message: dict[str, Any] = choice["message"]
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    finish, refusal = choice.get("finish_reason"), message.get("refusal")
    return {
        "status": "filtered"
        if finish == "content_filter"
        else "refused"
        if refusal
        else "completed",
        "error": refusal or ("content filter" if finish == "content_filter" else None),
        "content": message.get("content"),
        "reasoning": message.get("reasoning") or message.get("reasoning_content"),
        "tool_calls": [
            {
                "id": c.get("id"),
                "name": c["function"]["name"],
                "arguments": c["function"]["arguments"],
            }
            for c in calls
        ],
        "finish_reason": finish,
        "prompt_tokens": int(usage.get("prompt_tokens") or 0),
        "completion_tokens": int(usage.get("completion_tokens") or 0),
    }


def _responses_answer(body: dict[str, Any]) -> dict[str, Any]:
    if body["status"] == "failed":
        raise ValueError
    usage: dict[str, Any] = body.get("usage") or {}
    texts, thoughts, refusals, calls = list[str](), list[str](), list[str](), list[dict[str, Any]]()
    for item in body["output"]:
        if item["type"] == "message":
            texts += [part["text"] for part in item["content"] if part["type"] == "output_text"]
            refusals += [part["refusal"] for part in item["content"] if part["type"] == "refusal"]
        elif item["type"] == "reasoning":
            thoughts += [
                part["text"]
                for part in [*(item.get("content") or ()), *(item.get("summary") or ())]
            ]
        elif item["type"] == "function_call":
            calls.append(
                {"id": item.get("call_id"), "name": item["name"], "arguments": item["arguments"]}
            )
    incomplete: dict[str, Any] = body.get("incomplete_details") or {}
    reason: str | None = incomplete.get("reason")
    return {
        "status": "filtered"
        if reason == "content_filter"
        else "refused"
        if refusals
        else "completed",
        "error": "\n".join(refusals) or ("content filter" if reason == "content_filter" else None),
        "content": "\n".join(texts) if texts or not calls else None,
        "reasoning": "\n".join(thoughts) or None,
        "tool_calls": calls,
        "finish_reason": "length"
        if reason == "max_output_tokens"
        else reason or ("tool_calls" if calls else "stop"),
        "prompt_tokens": int(usage.get("input_tokens") or 0),
        "completion_tokens": int(usage.get("output_tokens") or 0),
    }


class Refusal(Exception):
    """A response with an error status. `kind` is the provider's name of the error, never its
    message, which may quote the request."""

    def __init__(self, status: int, raw: bytes) -> None:
        self.status = status
        try:
            error: Any = orjson.loads(raw)["error"]
            kinds = [error.get("code"), error.get("type")]
        except (ValueError, KeyError, TypeError, AttributeError):
            kinds = []
        self.kind: str = next((k for k in kinds if isinstance(k, str) and k), "error")
        super().__init__(f"status {status}: {self.kind}")

    @property
    def stops_everything(self) -> str | None:
        """Why no further request can succeed, or None."""
        if self.status in (401, 403):
            return f"refused the key (status {self.status})"
        return _STOPS.get(self.kind)

    @property
    def is_transient(self) -> bool:
        return self.status in _RETRIED or self.status >= 500

    @property
    def is_filter(self) -> bool:
        return self.status < 500 and any(name in self.kind for name in _FILTERS)


def filtered(wrong: Refusal) -> dict[str, Any]:
    """The answer that a content filter's error stands for."""
    nothing: dict[str, Any] = {
        "content": None,
        "reasoning": None,
        "tool_calls": [],
        "finish_reason": None,
    }
    return nothing | {
        "status": "filtered",
        "error": wrong.kind,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
