"""De-identification on real conversations and real agent runs: counts sum, structure stays, and
nothing hangs."""

import gzip
import io
import json
from collections import Counter
from typing import Any

import pytest

from deploysim_assets.deidentify.patterns import PatternDetector
from deploysim_assets.deidentify.scrub import Quarantined, Scrubber
from deploysim_assets.logs import reader
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets_tests.support import SHARED, needs_shared

pytestmark = needs_shared


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber(b"r" * 32)


def _lines() -> bytes:
    """The recorded prefixes and their preferred replies, as openai_chat logs."""
    lines: list[str] = []
    with gzip.open(SHARED / "data" / "hh_harmless" / "test.jsonl.gz") as file:
        for raw in file:
            row = json.loads(raw)
            messages = [*row["prefix"], {"role": "assistant", "content": row["preferred"]}]
            lines.append(
                json.dumps(
                    {
                        "conversation_id": row["id"],
                        "started_at": None,
                        "training_allowed": True,
                        "messages": messages,
                    }
                )
            )
    return "\n".join(lines).encode()


def test_every_real_conversation_passes_and_little_is_replaced(scrubber: Scrubber) -> None:
    items = list(reader("openai_chat")(io.BytesIO(_lines())))
    assert len(items) == 2_307
    assert not [item for item in items if isinstance(item, Reject)]
    entities: Counter[str] = Counter()
    for item in items:
        assert isinstance(item, Conversation)
        before = item.row("m")["messages"]
        cleaned = scrubber.scrub(before, item.conversation_id)
        assert [m["role"] for m in cleaned.messages] == [m["role"] for m in before]
        for count in cleaned.entities:
            entities.update(count)
    assert entities["EMAIL_ADDRESS"] >= 5
    assert entities["PHONE_NUMBER"] >= 1
    assert entities.total() < 40, "these are conversations in prose: more would be false hits"


def test_real_agent_runs_keep_their_structure(scrubber: Scrubber) -> None:
    path = SHARED / "data" / "agentdojo" / "runs.parquet"
    runs = [
        item
        for item in reader("agent_trajectories")(io.BytesIO(path.read_bytes()))
        if isinstance(item, Conversation)
    ][::40]
    detector, quarantined = PatternDetector(), 0
    for run in runs:
        before: list[dict[str, Any]] = run.row("m")["messages"]
        try:
            cleaned = scrubber.scrub(before, run.conversation_id).messages
        except Quarantined:
            quarantined += 1
            continue
        for old, new in zip(before, cleaned, strict=True):
            for call, clean in zip(old["tool_calls"] or [], new["tool_calls"] or [], strict=True):
                assert json.loads(clean["arguments"]).keys() == json.loads(call["arguments"]).keys()
                for span in detector.spans(call["arguments"]):
                    if span.type == "EMAIL_ADDRESS":
                        assert call["arguments"][span.start : span.end] not in clean["arguments"]
    assert len(runs) > 400
    assert quarantined / len(runs) < 0.02
