"""Production traffic of a release of the synthetic agents, as openai_chat log lines with tools."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from deploysim_assets.synthetic.agent_world import task_shares
from deploysim_assets.synthetic.agents import REQUESTS, Agent
from deploysim_assets.synthetic.desk import DEFINITIONS, TOPICS_PER_DESK, opened, run, topics
from deploysim_assets.synthetic.texts import pick, with_identifier
from deploysim_assets.synthetic.traffic import framed
from deploysim_assets.synthetic.world import uniform


def system_prompt(desk: str) -> str:
    """What every conversation begins with; the desk's id in it says what the tools work on."""
    return f"You are Courier, an assistant with e-mail and files, at work on {desk}."


def request(task: str, topic: str, *key: object) -> str:
    """A user's message that asks for a task; about one in nine holds an identifier."""
    worded = REQUESTS[task]
    text = worded[int(uniform(*key, "worded") * len(worded))].format(topic)
    return with_identifier(text, "en", *key)


def turn(
    agent: Agent, desk: Any, asked: str, key: tuple[object, ...]
) -> tuple[list[dict[str, Any]], str]:
    """What a release does in production until it answers, on a live desk: the messages of its calls
    and their results, and its answer."""
    messages: list[dict[str, Any]] = []
    done: list[list[str]] = []
    while (message := agent.step(asked, done, key))["tool_calls"]:
        results = [
            run(desk, call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message["tool_calls"]
        ]
        messages.append({"role": "assistant", **message})
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": result}
            for call, result in zip(message["tool_calls"], results, strict=True)
        ]
        done.append(results)
    return messages, message["content"]


def conversation(release: str, number: int, seed: int, started_at: datetime) -> dict[str, Any]:
    """One conversation of one to eight turns, each about another topic of one desk."""
    key = (seed, release, number)
    desk = f"desk_{int(uniform(*key, 'desk') * 16**6):06x}"
    live, agent, shares = opened(desk), Agent(release, seed), task_shares(release)
    turns = 1
    while turns < TOPICS_PER_DESK and uniform(*key, "more", turns) < 0.5:
        turns += 1
    messages: list[dict[str, Any]] = [{"role": "system", "content": system_prompt(desk)}]
    for number_of_turn, topic in enumerate(topics(desk)[:turns]):
        own = (*key, number_of_turn)
        asked = request(pick(shares, uniform(*own, "task")), topic, *own)
        worked, said = turn(agent, live, asked, own)
        messages += [{"role": "user", "content": asked}, *worked]
        messages.append({"role": "assistant", "content": said})
    return framed(key, started_at, "en", messages) | {"tools": list(DEFINITIONS)}


def conversations(
    release: str, count: int, seed: int, first: datetime, spacing: timedelta
) -> Iterator[dict[str, Any]]:
    """A release's traffic from `first` on, one conversation every `spacing`."""
    return (
        conversation(release, number, seed, first + number * spacing) for number in range(count)
    )
