"""The two text interfaces of the API, chat completions and responses: addresses, request bodies,
and what tells one request from another."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, cast

import orjson

Api = Literal["chat", "responses"]
PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "responses": "/responses"}


class Request(dict[str, Any]):
    """A request's body that knows which prefix it is about. That is journalled beside the answer,
    so that a withdrawal finds it, and is no part of what is hashed or sent.

    `live` answers in place of the endpoint: its answer is journalled as any, and bills nothing.
    `counted_as` is what progress calls such requests.
    """

    about: str | None = None
    live: Callable[[], Awaitable[dict[str, Any]]] | None = None
    counted_as: str | None = None


FollowUp = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | Iterable[Request] | None]
"""What a request and its answer call for: nothing, one more request, or several, which are asked
together."""


def about(prefix_id: str, body: dict[str, Any]) -> Request:
    """A request's body that is about a prefix."""
    request = Request(body)
    request.about = prefix_id
    return request


def following(
    first: dict[str, Any], found: dict[str, Any] | Iterable[Request] | None
) -> list[dict[str, Any]]:
    """The requests that follow another one, about the same prefix."""
    if found is None:
        return []
    if not isinstance(found, dict):
        return [*found]
    found = cast("dict[str, Any]", found)
    known = subject_of(first)
    whose = isinstance(found, Request) and found.about is not None
    return [about(known["about"], found) if known and not whose else found]


def live_answer(body: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]] | None:
    """What answers a request in place of the endpoint; None where the endpoint does."""
    return body.live if isinstance(body, Request) else None


def subject_of(body: dict[str, Any]) -> dict[str, str]:
    """What the journal keeps of whom a request is about."""
    subject = body.about if isinstance(body, Request) else None
    return {"about": subject} if subject else {}


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
