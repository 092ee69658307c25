"""Nothing hostile gets through or hangs: every text is cleaned or quarantined within seconds,
every line read or rejected."""

import contextlib
import io
import json
import time
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from deploysim_assets.deidentify.scrub import Quarantined, Scrubber
from deploysim_assets.logs import reader
from deploysim_assets.logs.conversation import Conversation, Reject

EMPTY = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at"))
DEEP = "[" * 100_000 + "]" * 100_000
TEXTS = {
    "dots": "a.a." * 40_000,
    "octets": "1.1.1." * 15_000,
    "digits": "1" * 200_000,
    "digit candidates": "123-456 " * 25_000,
    "a hundred thousand candidates": "7 12345 " * 30_000,
    "at signs": "@" * 100_000,
    "mailbox": "a" * 100_000,
    "mailboxes": "a@" * 100_000,
    "mailboxes without an end": "a@b." * 25_000,
    "colons": ":" * 200_000,
    "colon groups": "1:" * 50_000,
    "hex": "ab:cd:" * 30_000,
    "iban starts": "DE89" * 25_000,
    "iban words": "DE89 ABCD " * 20_000,
    "secrets": "password=" * 10_000,
    "keys": "sk-" * 60_000,
    "schemes": "://a:" * 40_000,
    "lines": "4111\n" * 50_000,
    "blank lines": "\n \n" * 60_000,
    "nul": "\0" * 200_000,
    "zero width": "\u200b1" * 60_000,
    "percent": "%40" * 60_000,
    "escapes": "\\u0041" * 30_000,
    "separator": "\u2028a@b.de" * 20_000,
    "deep JSON": DEEP,
    "extensions": "12 x 34 ext " * 15_000,
    "ten megabytes": "a@b.de " * 1_500_000,
    "one line of names": "Ann Smith " * 20_000,
    "one line of titles": "Mr. " * 50_000,
    "one line of streets": "12 Main St Apt 4 " * 6_000,
    "one line of capitals": "Abc " * 50_000,
    "one line of dates": "3 May 2021 " * 9_000,
    "lone surrogate": "ann@lindenhof.de \ud800",
}


def scrubbed(scrubber: Scrubber, message: dict[str, Any]) -> str | None:
    try:
        return scrubber.scrub([EMPTY | {"role": "user"} | message], "c").messages[0]["content"]
    except Quarantined as why:
        return f"quarantined: {why}"


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_is_cleaned_or_quarantined_within_seconds(
    name: str, level: int, scrubbers: list[Scrubber]
) -> None:
    start = time.process_time()
    result = scrubbed(scrubbers[level], {"content": TEXTS[name]})
    assert time.process_time() - start < 20
    assert result is not None
    expected = {
        "ten megabytes": "message_too_long",
        "lone surrogate": "not_text",
        "mailboxes": "",
        "separator": "too_many_entities",
    }.get(name, "")
    assert expected in result


@pytest.fixture(scope="module")
def scrubbers() -> list[Scrubber]:
    from deploysim_assets.project import Deidentification

    return [Scrubber(b"h" * 32), Scrubber(b"h" * 32, Deidentification(min_level=1))]


@pytest.mark.parametrize(
    "value", [DEEP, '{"a":' * 100_000 + "1" + "}" * 100_000, json.dumps("x" * 3_000_000)]
)
def test_hostile_tool_arguments_are_cleaned_or_quarantined(
    value: str, scrubbers: list[Scrubber]
) -> None:
    start = time.process_time()
    result = scrubbed(
        scrubbers[0],
        {"content": None, "tool_calls": [{"id": "1", "name": "f", "arguments": value}]},
    )
    assert time.process_time() - start < 20
    assert result is None or result.startswith("quarantined")


PIECES = [
    *(t[:12] for t in TEXTS.values()),
    " ",
    "{",
    '"',
    "ann@lindenhof.de",
    "4111 1111 1111 1111",
]


ROLES = ("user", "assistant")
NAMING = [
    *PIECES,
    "\n",
    ", ",
    "Mr ",
    "Zsigmond Tarkowsky",
    " 12 Main St, Apt 4",
    "3 May 2021",
    '{"name": "',
    '"}',
    "password: ",
    "\u200b",
    "我叫王伟",
]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_ends_cleaned_or_quarantined(text: str) -> None:
    result = scrubbed(_SCRUBBER, {"content": text})
    assert result is not None
    if not result.startswith("quarantined"):
        assert "ann@lindenhof.de" not in result
        assert result.encode() or not text


@seed(14)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(NAMING), max_size=40).map("".join))
def test_a_mutated_conversation_ends_cleaned_or_quarantined(
    scrubbers: list[Scrubber], text: str
) -> None:
    turns = [EMPTY | {"role": r, "content": text[i::2] or None} for i, r in enumerate(ROLES)]
    turns.append(EMPTY | {"role": "user", "content": text})
    start = time.process_time()
    with contextlib.suppress(Quarantined):
        cleaned = scrubbers[1].scrub(turns, "c").messages
        assert "ann@lindenhof.de" not in (cleaned[-1]["content"] or "")
        assert [m["content"] is None for m in cleaned] == [t["content"] is None for t in turns]
    assert time.process_time() - start < 5


_SCRUBBER = Scrubber(b"h" * 32)
MESSAGES = [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "c"}]
GOOD = json.dumps(
    {"conversation_id": "good", "started_at": None, "training_allowed": True, "messages": MESSAGES},
    ensure_ascii=False,
).encode()


@pytest.mark.parametrize(
    "line",
    [
        b'{"conversation_id": "x", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
        b'{"conversation_id": "x", "messages": ' + DEEP.encode() + b"}",
        b"[" * 100_000,
        b"\0" * 1000,
        b'{"conversation_id": "x", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b"9" * 100_000,
    ],
)
def test_a_hostile_line_is_rejected_and_the_next_one_is_read(line: bytes) -> None:
    start = time.process_time()
    items = list(reader("openai_chat")(io.BytesIO(line + b"\n" + GOOD + b"\n")))
    assert time.process_time() - start < 10
    assert len(items) == 2, "U+2028 does not end a line"
    assert isinstance(items[1], Conversation)
    if isinstance(items[0], Reject):
        assert items[0].line == 1
    else:
        with contextlib.suppress(Quarantined):
            cleaned = _SCRUBBER.scrub(items[0].row("m")["messages"], "c")
            assert json.dumps(cleaned.messages)
