"""Detection: the gate changes nothing but the time, hidden identifiers are found, hostile texts
are bounded, clean code stays."""

import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploysim_assets.benchmarks.chat_texts import chat_text
from deploysim_assets.benchmarks.deidentification import presidio_engine
from deploysim_assets.deidentify.audit import canary_recall, false_hits, leaked
from deploysim_assets.deidentify.canaries import CANARIES, CONTAINERS, PROSE
from deploysim_assets.deidentify.encoded import EncodedText
from deploysim_assets.deidentify.live_rules import RULES, rule_spans, without_numbers
from deploysim_assets.deidentify.patterns import PatternDetector
from deploysim_assets.deidentify.presidio import THRESHOLD, Recognizers
from deploysim_assets.deidentify.rules import luhn
from deploysim_assets.deidentify.scan_copy import joined_lines, scan_copy
from deploysim_assets.deidentify.scrub import Scrubber
from deploysim_assets.deidentify.secret_rules import entropy

DETECTOR, RECOGNIZERS = PatternDetector(), Recognizers()
ENGINE = presidio_engine()
PIECES = st.sampled_from(
    [
        "4111 1111 1111 1111", "378282246310005", "ann@lindenhof.de", "@", "81.2.69.142", "::1",
        "1::2", "2a02:2e0:3fe:1001:302::", "536-22-8745", "536228745",
        "DE89370400440532013000", "GB82 WEST 1234 5698 7654 32",
        "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "00:1A:2B:3C:4D:5E", "0000.1111.2222", "+49 30 901820", "(212) 736-5000", "12", "x", " ",
        "\n", "-", ".", ":", "ab12", "电话", "é", "_",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join))
@example("x = A[1::2] 4111.1111.1111.1111")
def test_the_gate_lets_through_whatever_presidio_finds(text: str) -> None:
    expected = {
        (r.start, r.end, r.entity_type)
        for r in ENGINE.analyze(text, "en", score_threshold=THRESHOLD)
    }
    found = {(s.start, s.end, s.type) for s in RECOGNIZERS.spans(EncodedText(text))}
    # presidio's engine drops a find that lies inside an equal one; the scrubber merges such
    assert expected <= found


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=120))
def test_the_scan_copy_leads_back_to_the_text_it_came_from(text: str) -> None:
    copy = scan_copy(text)
    for i in range(len(copy.text)):
        start, end = copy.original(i, i + 1)
        assert 0 <= start < end <= len(text)
    if copy.starts is not None:
        assert copy.starts == sorted(copy.starts)
        assert len(copy.starts) == len(copy.ends or []) == len(copy.text)


@pytest.mark.parametrize(
    "hidden",
    [
        "ann\u200b@lindenhof.de", "ann\0@lindenhof.de", "ann\uff20lindenhof.de",
        "４１１１ １１１１ １１１１ １１１１", "4111\u00a01111\u00a01111\u00a01111",
        "ann%40lindenhof.de", "ann\\u0040lindenhof.de", "ann [at] lindenhof [dot] de",
        "id_4111111111111111_x", "4111-1111-1111-1112", "анна@почта.рф",
        "password = hunter2hunter", "bob@mail.internal", "ES9121000418450200051332 Please",
        "2221 0000 0000 0009",
    ],
)  # fmt: skip
def test_what_hides_an_identifier_is_undone(hidden: str) -> None:
    assert DETECTOR.spans(f"see {hidden} there"), hidden


@pytest.mark.parametrize(
    "text",
    [
        "self.name[1::2]",
        "version 1.2.3",
        "2026-05-01T10:00:00Z",
        "order 123456",
        "3.14159",
        "client.publish(topic)",
        "@functools.wraps(f)",
    ],
)
def test_code_and_numbers_are_no_identifiers(text: str) -> None:
    assert DETECTOR.spans(text) == []


@pytest.mark.parametrize(
    "name",
    ["MyVeryLongClassName2WithNumbers3AndMore", "testHTTP2ServerPushV1Beta1Api",
     "useQuery2ForUser3ByIdV2Impl", "convertInt64ToUint8ArrayV2"],
)  # fmt: skip
def test_names_that_are_made_of_words_are_not_drawn_by_lot(name: str) -> None:
    assert DETECTOR.spans(f"call {name} here") == []


def test_clean_code_heavy_text_has_few_false_hits() -> None:
    """The bound of the audit: 30 per MB, where presidio's defaults give over two thousand."""
    texts = [chat_text(i, 4000) for i in range(120)]
    code = [
        "\n".join(
            line
            for line in text.splitlines()
            if "@" not in line and not any(d.isdigit() for d in line.partition("#")[2][:40])
        )
        for text in texts
    ]
    clean = [
        "".join(part for part in text.split("\n") if part.startswith(("    ", "def", "{")))
        for text in code
    ]
    found = false_hits(Scrubber(b"t" * 32), clean)
    assert found.megabytes > 0.05
    assert found.per_megabyte < 30, found


def test_canaries_of_every_cell_are_caught() -> None:
    cells = list(canary_recall(Scrubber(b"t" * 32), 7, 2))
    assert len(cells) == len(CANARIES) * len(PROSE) * len(CONTAINERS) >= 639
    assert [c for c in cells if c.caught < c.planted] == []


def test_the_audit_sees_a_leak() -> None:
    bare = {"content": "write to ", "tool_calls": None}
    left = {"content": "write to ann.lee@lindenhof.de", "tool_calls": None}
    clean = {"content": "write to kai.x1@example.com", "tool_calls": None}
    assert leaked("ann.lee@lindenhof.de", bare, [left, left])
    assert leaked(
        "ann.lee@lindenhof.de", bare, [{"content": "write to ann.lee", "tool_calls": None}] * 2
    )
    assert not leaked("ann.lee@lindenhof.de", bare, [clean, clean])


RULE_TEXT = st.lists(
    st.sampled_from(
        ["4111 1111 1111 1111", "ann@lindenhof.de", "анна@почта.рф", "DE89370400440532013000",
        "sk-", "a" * 20, "9", " ", "-", "\n", "@", "://", "joe:pw", ".",
         "81.2.69.142", "536-22-8745", "电", "é", "password: ", "hunter2hunter", "+49", "30 901820",
         "-----BEGIN PRIVATE KEY-----", "ann [at] b [dot] de"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(RULE_TEXT)
def test_a_rule_started_by_its_core_finds_what_a_search_of_the_whole_text_finds(text: str) -> None:
    encoded = EncodedText(text)
    for rule in RULES:
        whole = [
            (m.start(1) if rule.back else m.start(rule.part), m.end(rule.part))
            for m in rule.pattern.finditer(text)
            if rule.holds(m.group(rule.part))
        ]
        if rule.lead:
            whole = [(start, end) for start, end in whole if text[:start].endswith(rule.lead)]
        else:
            assert [(s.start, s.end) for s in rule.spans(encoded)] == whole, rule.type


def test_the_gates_of_the_rules_let_through_whatever_a_rule_finds() -> None:
    rng = random.Random("gates")
    between = (" ", "\n", ", ", ": ", "电", "é", " 0.12345678 ", " call ", " passport ", "=", "")
    for _ in range(200):
        text = ""
        for kind in rng.choices(list(CANARIES), k=rng.randint(1, 4)):
            value = CANARIES[kind](rng)
            if rng.random() < 0.3:
                at = rng.randrange(len(value))
                value = value[:at] + rng.choice(between) + value[at + 1 :]
            text += value + rng.choice(between)
        encoded = EncodedText(text)
        bare = without_numbers(encoded)
        close = re.search(r"[0-9](?:[^0-9\n]{0,4}[0-9]){4}", bare.text)
        one_by_one = {
            s
            for r in RULES
            if close or not r.digits
            for s in r.spans(bare if r.digits else encoded)
        }
        assert set(rule_spans(encoded, bare)) == one_by_one, text


@pytest.mark.parametrize(
    "parts",
    [
        ("d77a:153c:d94e:a09e:", "cdce:b9f9:f8ae:ac12"),
        ("1d07:49d4:14aa:ca2a:3", "0df:eee3:32c8:87b4"),
        ("MT84 MALT 0110 0001 2345 M", "TLC AST0 01S"),
        ("GODE561231HDFRRN", "09"),
        ("RSS", "MRA85T10A562S"),
        ("S966", "4122D"),
    ],
)
def test_identifiers_with_few_digits_at_a_line_break_are_found(parts: tuple[str, str]) -> None:
    text = f"it was {parts[0]}\n{parts[1]} in the list"
    start, end = 7, 7 + len(parts[0]) + 1 + len(parts[1])
    assert any(s.start <= start and s.end >= end for s in DETECTOR.spans(text)), parts


@pytest.mark.parametrize(
    "following", ["Best regards", "Kind", "The 12 of us", "I Think so", "and Then 12 more", "A Bee"]
)
@pytest.mark.parametrize("given", ["my number is 917-444-6321", "NIF: 12345678", "id 030 1234567"])
def test_a_number_does_not_take_the_next_lines_word_with_it(given: str, following: str) -> None:
    found = DETECTOR.spans(f"{given}\n{following}")
    assert not [s for s in found if s.end > len(given)], found


@pytest.mark.parametrize("parts", [("917444", "63Z21"), ("X1234567", "AB"), ("AB12345", "C7")])
def test_a_national_id_is_found_over_a_line_break(parts: tuple[str, str]) -> None:
    text = f"passport no {parts[0]}\n{parts[1]} it is"
    end = len(text) - len(" it is")
    assert any(s.start <= 12 and s.end >= end for s in DETECTOR.spans(text)), parts


@given(st.text(max_size=60))
def test_a_byte_leads_to_its_character(text: str) -> None:
    encoded = EncodedText(text)
    offset = 0
    for i, character in enumerate(text):
        assert encoded.index(offset) == i
        offset += len(character.encode(errors="replace"))
    assert encoded.index(offset) == len(text)


@given(st.text(alphabet="ab1@ \t\r\n", max_size=40))
def test_joined_lines_lead_back_to_the_text(text: str) -> None:
    joined = joined_lines(scan_copy(text))
    if joined is None:
        assert not re.search(r"[^\r\n]\r?\n[ \t]*[^\s@]", text)
        return
    for i, character in enumerate(joined.text):
        start, end = joined.original(i, i + 1)
        assert text[start:end] == character


def test_checksums_and_entropy() -> None:
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert entropy("aaaaaaaa") == 0
