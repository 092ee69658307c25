"""What the novelty audit finds and what it invents: the power on planted changes of form, and
discoveries between two halves of one model's replies, where there is nothing to be found.

python -m deploysim_assets.benchmarks.novelty [--seeds 20] [--recorded recorded.parquet]
"""

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from deploysim_assets.forecast.novelty import Finding, findings
from deploysim_assets.grading.features import features
from deploysim_assets.grading.form import rank
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.synthetic.replies import reply
from deploysim_assets.synthetic.traffic import conversations

Side = tuple[str, dict[str, Any]]
Pair = tuple[Side, Side]
"""For the candidate and for the live model: what was asked, and the reply."""
_ASKED = " Is it the same for you and for all of the others in that?"

_GERMAN = "Das ist nicht so schwer, und ich kann es dir mit den Zahlen von der Seite zeigen."


def _content(change: Callable[[str], str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda made: made | {"content": change(made["content"])}


PLANTED: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "tags": ("tag: thinking", _content(lambda t: f"<thinking>Hm.</thinking>\n{t}")),
    "thinking split off": ("thinks", lambda made: made | {"reasoning": "Let me see."}),
    "a boxed answer": ("latex: boxed", _content(lambda t: f"{t}\n\\boxed{{42}}")),
    "code fences": ("code: python", _content(lambda t: f"{t}\n```python\nprint(1)\n```")),
    "headings": ("format: a heading", _content(lambda t: f"## Answer\n{t}")),
    "a list": ("format: bullets", _content(lambda t: f"{t}\n- one\n- two")),
    "a table": ("format: a table", _content(lambda t: f"{t}\n| a | b |\n|---|---|\n| 1 | 2 |")),
    "links": ("format: a link", _content(lambda t: f"{t} See https://a.example/x.")),
    "emoji": ("format: emoji", _content(lambda t: f"{t} \U0001f600")),
    "another opening": ("opening: well now then", _content(lambda t: f"Well now then, {t}")),
    "another language": ("language: answers english in german", _content(lambda _: _GERMAN)),
    "questions back": ("asks back", _content(lambda t: f"{t} Does this help you?")),
    "repetition": ("repeats a sentence", _content(lambda t: f"{t} " + "This is what I say. " * 3)),
    "cut endings": (
        "cut: ends in the middle of a sentence",
        _content(lambda t: f"{t} And then, as I was about to say before the next part of the of"),
    ),
    "praise": ("tone: praises the question", _content(lambda t: f"What a great question! {t}")),
    "tools in order": (
        "order: browser before mail",
        lambda made: (
            made | {"tool_calls": [{"name": n, "arguments": "{}"} for n in ("browser", "mail")]}
        ),
    ),
}


def _shaped(answer: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {"name": c["function"]["name"], "arguments": c["function"]["arguments"]}
        for c in answer["tool_calls"]
    ]
    return {"content": answer["content"], "reasoning": None, "tool_calls": calls}


def synthetic_pairs(seed: int, count: int) -> list[Pair]:
    """Two replies of one synthetic model to each of many prefixes."""
    pairs: list[Pair] = []
    begin = datetime.now(UTC)
    for i, chat in enumerate(conversations("aurora-2", count, seed, begin, timedelta(seconds=1))):
        asked = [m["content"] for m in chat["messages"] if m["role"] == "user"][-1]
        new, old = (
            _shaped(reply("aurora-2", asked, (1, asked, j), seed, simulated=False)) for j in (i, -i)
        )
        pairs.append(((asked + _ASKED, new), (asked + _ASKED, old)))
    return pairs


def halves(texts: dict[str, list[tuple[str, str]]], seed: int) -> list[Pair]:
    """One recorded model against itself: within each task, replies to one random half of the
    prompts beside replies to the other half."""
    rng, pairs = random.Random(seed), list[Pair]()  # noqa: S311 (a simulation)
    plain: dict[str, Any] = {"reasoning": None, "tool_calls": []}
    for rows in texts.values():
        mixed = rng.sample(rows, len(rows))
        middle = len(mixed) // 2
        sides = [(asked, {"content": text} | plain) for asked, text in mixed]
        pairs += zip(sides[:middle], sides[middle:], strict=False)
    return pairs


def audited(pairs: Iterable[Pair]) -> list[Finding]:
    """The audit of some pairs."""
    candidate_only, live_only = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    compared = 0
    for compared, ((asked, new), (asked_too, old)) in enumerate(pairs, 1):
        ours, theirs = features(new, asked), features(old, asked_too)
        for feature in ours - theirs:
            candidate_only[feature].append(f"{compared:016x}")
        for feature in theirs - ours:
            live_only[feature].append(f"{compared:016x}")
    return findings(candidate_only, live_only, compared, rank=rank)


def found(planted: str, share: float, seed: int, count: int = 400) -> tuple[bool, int]:
    """Whether a change planted in a share of the candidate's replies is found, under its own name
    and at the head of a finding; and the number of findings."""
    feature, change = PLANTED[planted]
    rng = random.Random(seed)  # noqa: S311 (a simulation)
    pairs = [
        ((asked, change(new) if rng.random() < share else new), old)
        for (asked, new), old in synthetic_pairs(seed, count)
    ]
    made = audited(pairs)
    return any(feature in finding.features and finding.more for finding in made), len(made)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--recorded", type=Path, help="prompt, model, response, task as Parquet")
    asked = parser.parse_args()
    rows: list[list[str]] = []
    for name in PLANTED:
        row = [name]
        for share in (1.0, 0.1, 0.03):
            tried = [found(name, share, seed) for seed in range(asked.seeds)]
            row.append(f"{sum(hit for hit, _ in tried)} of {asked.seeds}")
            row.append(f"{sum(n for _, n in tried) / asked.seeds:.1f}")
        rows.append(row)
    header = ("planted", "in all", "findings", "in 10%", "findings", "in 3%", "findings")
    console().print(rich_table("Power, 400 prefixes", header, rows))
    nulls = {
        "synthetic": [len(audited(synthetic_pairs(s, 400))) for s in range(100, 100 + asked.seeds)]
    }
    if asked.recorded:
        table = pl.read_parquet(asked.recorded).drop_nulls("response")
        for (model,), frame in table.group_by("model", maintain_order=True):
            texts = defaultdict[str, list[tuple[str, str]]](list)
            for row in frame.iter_rows(named=True):
                texts[row["task"]].append((row["prompt"], row["response"]))
            nulls[str(model)] = [len(audited(halves(texts, s))) for s in range(asked.seeds)]
    told = [
        [name, f"{sum(map(bool, counts))} of {len(counts)}", str(dict(Counter(counts)))]
        for name, counts in nulls.items()
    ]
    title = "Two halves of one model: audits with a finding, and findings an audit"
    console().print(rich_table(title, ("model", "with a finding", "counts"), told))


if __name__ == "__main__":
    main()
