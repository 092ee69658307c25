"""Prefixes -> requests to the candidate -> rows of the completions table."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from deploysim_assets.endpoint.wire import request_key
from deploysim_assets.project import Candidate
from deploysim_assets.schema import finish_reason, reply_state, separated
from deploysim_assets.storage.journal import Journal


def chat_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A prefix's messages as the chat API takes them. Earlier reasoning is left out: providers
    do not take it back."""
    chat: list[dict[str, Any]] = []
    for message in messages:
        sent: dict[str, Any] = {"role": message["role"], "content": message["content"]}
        if message["tool_calls"]:
            sent["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in message["tool_calls"]
            ]
        for field in ("tool_call_id", "name"):
            if message[field] is not None:
                sent[field] = message[field]
        chat.append(sent)
    return chat


def completion_request(prefix: dict[str, Any], candidate: Candidate, seed: int) -> dict[str, Any]:
    """The candidate's request for a prefix, never showing what the deployed model answered.

    Each prefix has a seed of its own, so that equal prefixes get independent answers; a parameter
    set to null is left out.
    """
    own = (
        int.from_bytes(
            hashlib.blake2b(f"{seed}\x1f{prefix['prefix_id']}".encode(), digest_size=4).digest()
        )
        >> 1
    )
    body = {
        "model": candidate.model,
        "messages": chat_messages(prefix["messages"]),
        "seed": own,
    } | candidate.params
    return {k: v for k, v in body.items() if v is not None}


def reply_of(answer: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A journalled answer as a REPLY without steps, and its state. The state is told here and not
    in the journal, whose answers are also those of graders."""
    message = separated(
        {name: answer[name] for name in ("content", "reasoning", "tool_calls")}
        | {"finish_reason": finish_reason(answer["finish_reason"]) or "unknown", "steps": []}
    )
    status: str = answer["status"]
    return message, reply_state(message) if status == "completed" else status


def completion_row(
    prefix_id: str,
    model_version: str,
    body: dict[str, Any],
    journal: Journal,
    failures: dict[str, str],
) -> dict[str, Any]:
    """The row of the completions table for a request: its journalled answer, or its failure."""
    key = request_key(body)
    row: dict[str, Any] = {
        "prefix_id": prefix_id,
        "model_version": model_version,
        "request_key": key,
    }
    if key not in journal:
        return row | {"status": "failed", "error": failures[key], "message": None}
    answer = journal.get(key)
    kept = {
        name: answer[name] for name in ("error", "prompt_tokens", "completion_tokens", "latency_ms")
    }
    message, status = reply_of(answer)
    return (
        row
        | kept
        | {
            "status": status,
            "finish_reason": message["finish_reason"],
            "message": message,
            "attachments": answer.get("attachments", []),
            "requested_at": datetime.fromisoformat(answer["requested_at"]),
        }
    )
