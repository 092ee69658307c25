"""Production traffic of a release of the synthetic world, as openai_chat log lines."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deploysim_assets.synthetic.replies import reply
from deploysim_assets.synthetic.texts import LANGUAGES, pick, user_message
from deploysim_assets.synthetic.world import TOPICS, topic_share, uniform

_SYSTEM = "You are Aurora, a helpful assistant with a browser tool."


def conversation(release: str, number: int, seed: int, started_at: datetime) -> dict[str, Any]:
    """One conversation: one to eight user turns, in one language, sometimes with a tool call and
    its result."""
    key = (seed, release, number)
    language = pick(LANGUAGES, uniform(*key, "language"))
    shares = {topic: topic_share(release, topic) for topic in TOPICS}
    messages: list[dict[str, Any]] = (
        [{"role": "system", "content": _SYSTEM}] if uniform(*key, "system") < 0.5 else []
    )
    turns = 1
    while turns < 8 and uniform(*key, "more", turns) < 0.62:
        turns += 1
    for turn in range(turns):
        text = user_message(language, pick(shares, uniform(*key, turn, "topic")), *key, turn)
        answer = reply(release, text, (*key, turn), seed, simulated=False)
        messages.append({"role": "user", "content": text})
        messages.append(
            {
                "role": "assistant",
                "content": answer["content"],
                **({"tool_calls": answer["tool_calls"]} if answer["tool_calls"] else {}),
            }
        )
        for call in answer["tool_calls"]:
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": call["id"],
                    "content": json.dumps({"results": ["overview page"]}),
                }
            )
            messages.append({"role": "assistant", "content": "That is what the page says."})
    return framed(key, started_at, language, messages)


def framed(
    key: tuple[object, ...], started_at: datetime, language: str, messages: list[dict[str, Any]]
) -> dict[str, Any]:
    """Messages as a log line: who wrote them, when and where, and what they may be used for."""
    _, release, number = key
    consent = uniform(*key, "consent")
    return {
        "conversation_id": f"{release}-{number}",
        "user_id": f"user-{int(2000 * uniform(*key, 'user') ** 3)}",  # few people write much
        "started_at": started_at.isoformat(),
        "training_allowed": True if consent < 0.93 else (False if consent < 0.97 else None),
        "surface": pick({"web": 0.6, "mobile": 0.3, "desktop": 0.1}, uniform(*key, "surface")),
        "language": language,
        "is_temporary": uniform(*key, "temporary") < 0.02,
        "messages": messages,
        "metadata": {"client": "demo"},
    }


def conversations(
    release: str, count: int, seed: int, first: datetime, spacing: timedelta
) -> Iterator[dict[str, Any]]:
    """A release's traffic from `first` on, one conversation every `spacing`."""
    return (
        conversation(release, number, seed, first + number * spacing) for number in range(count)
    )


def write_logs(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    """Write log lines to a JSONL file; it appears at its place only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    partial.rename(path)
