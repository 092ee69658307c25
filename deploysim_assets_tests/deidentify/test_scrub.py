"""De-identification at level 0: what is replaced, that structure survives, and that doubt means
quarantine."""

import json
from datetime import UTC, datetime
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from deploysim_assets.deidentify.keys import KEY_FILE, Keys, create_key_file, load_keys
from deploysim_assets.deidentify.patterns import PatternDetector
from deploysim_assets.deidentify.phones import REGIONS, FastPhoneRecognizer
from deploysim_assets.deidentify.prefixes import Drawn, cut_prefixes, deidentified
from deploysim_assets.deidentify.rules import Span
from deploysim_assets.deidentify.scrub import (
    MAX_MESSAGE_BYTES,
    PATTERNS_ONLY,
    Quarantined,
    Scrubber,
)
from deploysim_assets.logs.sampling import DrawnTurn
from deploysim_assets.project import ProjectError
from deploysim_assets.shards import processes

KEYS = Keys(b"i" * 32, b"s" * 32)


def message(content: str | None, role: str = "user", **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at"))
    return empty | {"role": role, "content": content} | more


def turn(index: int) -> DrawnTurn:
    return DrawnTurn(index, "", 1.5)


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber(KEYS.surrogates)


IDENTIFIERS = {
    "EMAIL_ADDRESS": ("ann.lee@lindenhof.de", "bob@mail.internal"),
    "PHONE_NUMBER": ("+49 30 901820", "(212) 736-5000"),
    "CREDIT_CARD": ("4111 1111 1111 1111", "5500-0055-5555-5559"),
    "IBAN_CODE": ("DE89370400440532013000",),
    "IP_ADDRESS": ("81.2.69.142", "2a02:2e0:3fe:1001:302::"),
    "US_SSN": ("536-22-8745",),
    "MAC_ADDRESS": ("00:1A:2B:3C:4D:5E",),
    "API_KEY": (
        "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8x",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "AKIAIOSFODNN7EXAMPLE",
    ),
    "URL_CREDENTIALS": ("joe:hunter2",),
}
FRAMES = (
    "Please note {} as agreed.",
    "请记下{}谢谢",
    "ここに{}があります",
    "запишите {} пожалуйста",
    "سجل {} من فضلك",
)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    ("kind", "value"), [(k, v) for k, values in IDENTIFIERS.items() for v in values]
)
def test_an_identifier_leaves_the_text_in_every_script(
    scrubber: Scrubber, frame: str, kind: str, value: str
) -> None:
    value = f"https://{value}@db.lindenhof.de/x" if kind == "URL_CREDENTIALS" else value
    cleaned = scrubber.scrub([message(frame.format(value))], "c")
    assert value not in (cleaned.messages[0]["content"] or "")
    assert cleaned.entities[0].total() >= 1


def test_quotation_marks_around_an_address_stay_and_do_not_make_it_another(
    scrubber: Scrubber,
) -> None:
    plain, quoted = (
        m["content"]
        for m in scrubber.scrub(
            [message("to ann@lindenhof.de"), message("to 'ann@lindenhof.de'")], "c"
        ).messages
    )
    assert quoted == f"to '{plain.removeprefix('to ')}'"


def test_the_same_value_has_one_surrogate_in_a_conversation_and_another_in_the_next(
    scrubber: Scrubber,
) -> None:
    twice = [message("write to ann@lindenhof.de"), message("ANN@lindenhof.de wrote", "assistant")]
    first, second = (m["content"] for m in scrubber.scrub(twice, "c1").messages)
    surrogate = first.removeprefix("write to ")
    assert second == f"{surrogate} wrote"
    assert surrogate.split("@")[1].startswith("example.")
    assert scrubber.scrub(twice, "c2").messages[0]["content"] != first


def test_tool_arguments_are_scanned_decoded_and_stay_json(scrubber: Scrubber) -> None:
    arguments = (
        '{"to": "ann\\u0040lindenhof.de", "card": 4111111111111111, "deep": [{"ip": '
        '"81.2.69.142"}], "n": 3, "ok": true}'
    )
    calls = [{"id": "1", "name": "mail", "arguments": arguments}]
    cleaned = scrubber.scrub([message(None, "assistant", tool_calls=calls)], "c").messages[0][
        "tool_calls"
    ][0]
    found = json.loads(cleaned["arguments"])
    assert found["n"] == 3
    assert found["ok"] is True
    for leaked in ("lindenhof", "4111", "81.2.69.142"):
        assert leaked not in cleaned["arguments"]


def test_text_without_identifiers_is_left_alone(scrubber: Scrubber) -> None:
    code = "def f(x):\n    return self.name[1::2] + d.get('k', 3.14)  # 2024-05-01, v1.2.3\n"
    plain = [message(code), message('{"a": [1, 2, {"b": null}]}', "tool"), message("", "assistant")]
    cleaned = scrubber.scrub(plain, "c")
    assert [m["content"] for m in cleaned.messages] == [m["content"] for m in plain]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("x" * (MAX_MESSAGE_BYTES + 1), "message_too_long"),
        ("[" * 100 + "1" + "]" * 100, "too_deep"),
        ("a\ud800b", "not_text"),
        (" ".join(f"u{i}@lindenhof.de" for i in range(2100)), "too_many_entities"),
    ],
)
def test_what_cannot_be_scanned_whole_is_quarantined(
    scrubber: Scrubber, content: str, reason: str
) -> None:
    with pytest.raises(Quarantined, match=reason):
        scrubber.scrub([message("fine"), message(content)], "c")


def test_a_time_out_of_a_pattern_is_quarantine_not_clean(
    scrubber: Scrubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presidio_analyzer.pattern_recognizer.REGEX_TIMEOUT_SECONDS", 1e-9)
    with pytest.raises(Quarantined, match="time_out"):
        scrubber.scrub([message(("a.b-c@" * 2_000) + "d.e")], "c")


def test_what_the_second_scan_finds_quarantines(
    scrubber: Scrubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PatternDetector.spans

    def half_blind(self: PatternDetector, text: str, language: str | None = None) -> list[Span]:
        found = real(self, text)
        return [
            s for s in found if "example." in text or text[s.start : s.end] != "bob@lindenhof.de"
        ]

    monkeypatch.setattr(PatternDetector, "spans", half_blind)
    with pytest.raises(Quarantined, match="residual"):
        Scrubber(KEYS.surrogates).scrub([message("ann@lindenhof.de and bob@lindenhof.de")], "c")


def test_a_quarantined_conversation_leaves_no_prefix_and_no_text(scrubber: Scrubber) -> None:
    bad = {
        "conversation_id": "c",
        "user_id": "u",
        "model_version": "m",
        "surface": None,
        "language": None,
        "training_allowed": True,
    }
    messages = [
        message("hello"),
        message("hi", "assistant"),
        message("x" * (MAX_MESSAGE_BYTES + 1)),
        message("ok", "assistant"),
    ]
    cut = cut_prefixes([Drawn(bad | {"messages": messages}, [turn(0), turn(2)])], KEYS, scrubber)
    assert cut.prefixes == []
    assert [q["reason"] for q in cut.quarantined] == ["message_too_long"] * 2
    assert all(set(q) == {"prefix_id", "conversation_key", "reason"} for q in cut.quarantined)


def test_prefixes_end_with_the_users_turn_and_do_not_depend_on_workers() -> None:
    def conversation(i: int) -> dict[str, Any]:
        messages = [
            message(f"q{i} u{i}@lindenhof.de"),
            message(f"a{i}", "assistant"),
            message("more"),
            message(f"b{i}", "assistant"),
        ]
        return {
            "conversation_id": f"c{i}",
            "user_id": None,
            "started_at": datetime(2026, 1, 1, tzinfo=UTC),
            "model_version": "m",
            "surface": "web",
            "language": "en",
            "training_allowed": True,
            "messages": messages,
        }

    drawn = [Drawn(conversation(i), [turn(0), turn(2)]) for i in range(450)]
    here, two = (
        [
            row
            for cut in deidentified(drawn, KEYS, PATTERNS_ONLY, processes(2), at_once=at_once)
            for row in cut.prefixes
        ]
        for at_once in (False, True)
    )
    assert here == two
    assert len(two) == 900
    assert all(row["messages"][-1]["role"] == "user" for row in two)
    assert [row["production_completion"]["content"] for row in two[:2]] == ["a0", "b0"]
    assert two[0]["user_key"] == two[0]["conversation_key"], (
        "an unknown user is one cluster per conversation"
    )
    assert "lindenhof" not in json.dumps(two)


PHONE_TEXT = st.text(alphabet="0123456789+-() ./x\nabc電", max_size=60)
SLOW, FAST = (
    recognizer(supported_regions=REGIONS) for recognizer in (PhoneRecognizer, FastPhoneRecognizer)
)


@settings(max_examples=400, deadline=None)
@given(PHONE_TEXT)
def test_fast_phones_find_what_presidio_finds(text: str) -> None:
    def found(recognizer: PhoneRecognizer) -> list[tuple[int, int, str, float]]:
        return sorted(
            (r.start, r.end, r.entity_type, r.score)
            for r in recognizer.analyze(text, ["PHONE_NUMBER"], None)
        )

    assert found(FAST) == found(SLOW)


def test_phonenumbers_is_the_version_whose_private_names_are_used() -> None:
    assert phonenumbers.__version__ == "9.0.43"


def test_keys_are_made_once_for_their_owner_alone_and_missed_ones_are_an_error(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEPLOYSIM_ID_KEY", raising=False)
    monkeypatch.delenv("DEPLOYSIM_SURROGATE_KEY", raising=False)
    with pytest.raises(
        ProjectError, match="the keys are missing, but the lake holds rows made with them"
    ):
        load_keys(tmp_path, may_create=False)
    made = load_keys(tmp_path, may_create=True)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
    assert load_keys(tmp_path, may_create=False) == made
    create_key_file(tmp_path)
    assert load_keys(tmp_path, may_create=False) == made, "an existing key file is never replaced"
    assert made.identify("user", "a") != made.identify("conversation", "a")
    monkeypatch.setenv("DEPLOYSIM_ID_KEY", "ab" * 32)
    monkeypatch.setenv("DEPLOYSIM_SURROGATE_KEY", "short")
    with pytest.raises(
        ProjectError, match="DEPLOYSIM_SURROGATE_KEY: a key is at least 64 hex digits"
    ):
        load_keys(tmp_path, may_create=False)
