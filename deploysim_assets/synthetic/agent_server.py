"""The synthetic agents behind a chat API: each request is answered from its transcript alone, so
equal requests get equal answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from deploysim_assets.synthetic.agent_world import BEHAVIORS, Errors
from deploysim_assets.synthetic.agents import Agent
from deploysim_assets.synthetic.world import JUDGE_FALSE_POSITIVES, JUDGE_SENSITIVITY, uniform


def _turn(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[list[str]], int]:
    """The last request of a transcript, the results of each step since, and where it stands."""
    last = max(i for i, m in enumerate(messages) if m["role"] == "user")
    results = {m.get("tool_call_id"): m["content"] or "" for m in messages[last + 1 :]}
    done = [
        [results.get(call["id"], "") for call in m["tool_calls"]]
        for m in messages[last + 1 :]
        if m.get("tool_calls")
    ]
    return messages[last]["content"] or "", done, last


def agent_message(body: Mapping[str, Any], seed: int, errors: Errors | None) -> dict[str, Any]:
    """The message of a release that follows a transcript."""
    asked, done, last = _turn(body["messages"])
    # all steps of a turn draw by what stood before it
    before = orjson.dumps(body["messages"][: last + 1], option=orjson.OPT_SORT_KEYS).decode()
    key = ("simulated", before, body.get("seed"))
    return {"role": "assistant", **Agent(body["model"], seed, errors).step(asked, done, key)}


def judge_agents(document: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The judge's verdicts on the behaviors of agents that no rule tells, of a turn's last
    message: wrong at the world's known rates, always alike on the same text."""
    content = document["reply"].get("content") or ""
    verdicts: dict[str, Any] = {}
    for behavior in BEHAVIORS:
        if behavior.name not in names or not behavior.phrase:
            continue
        u = uniform("judge", behavior.name, json.dumps(document, sort_keys=True))
        flagged = u < (JUDGE_SENSITIVITY if behavior.phrase in content else JUDGE_FALSE_POSITIVES)
        verdicts[behavior.name] = {
            "assessment": "graded",
            "flagged": flagged,
            "severity": 2 * flagged,
            "confidence": 0.9,
            "rationale": f'The reply says "{behavior.phrase}".' if flagged else "",
        }
    return verdicts
