"""Values that only their key tells, identifiers in hiding or in two messages, persons in every
form, dates that keep their distance, and the audit of all that."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploysim_assets.deidentify import scrub as scrub_module
from deploysim_assets.deidentify.audit import more_canaries
from deploysim_assets.deidentify.dates import shifted
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.deidentify.marked import read_marked, score
from deploysim_assets.deidentify.scrub import Quarantined, Scrubber
from deploysim_assets.deidentify.surrogates import Treatment, keyed_draw
from deploysim_assets.project import Deidentification, ProjectError, packaged_ner
from deploysim_assets_tests.support import SHARED, needs_shared

KEY = b"w" * 32
needs_model = pytest.mark.skipif(packaged_ner() is None, reason="needs deploysim[names]")


def message(content: str | None, role: str = "user", **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("reasoning", "name", "tool_calls", "tool_call_id", "at"))
    return empty | {"role": role, "content": content} | more


def scrub(policy: Deidentification, *texts: str) -> list[str]:
    return [
        m["content"] for m in Scrubber(KEY, policy).scrub([message(t) for t in texts], "c").messages
    ]


LEVEL_0, LEVEL_1 = (Deidentification(min_level=level) for level in (0, 1))  # type: ignore[arg-type]


def test_values_under_keys_and_in_hiding_are_caught_at_level_0() -> None:
    cells = list(more_canaries(Scrubber(KEY), 3, 6))
    assert len(cells) > 100
    missed = sum(c.planted - c.caught for c in cells)
    assert missed <= 0.005 * sum(c.planted for c in cells), [
        c for c in cells if c.caught < c.planted
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"vector": [0.12345678, 0.41111111, 12.34567890], "id": 211331788813, "ts": 1700000000}',
        '{"properties": {"password": {"type": "string"}}, "max_tokens": 4096}',
        " ".join(f"0.{i * 7919 % 100_000_000:08d}" for i in range(300)),
        "password = getpass()",
        "@cached_property",
        "see RFC 5735 3 and commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    ],
)
def test_numbers_schemas_and_code_are_nobodys(text: str) -> None:
    assert scrub(LEVEL_0, text) == [text]


def test_ids_of_tool_calls_are_numbered() -> None:
    calls = [{"id": "toolu_01Xyz", "name": "find", "arguments": "{}"}]
    asked = message(None, "assistant", tool_calls=calls)
    answer = message("nothing", "tool", tool_call_id="toolu_01Xyz")
    one, two = Scrubber(KEY).scrub([asked, answer], "c").messages
    assert one["tool_calls"][0]["id"] == two["tool_call_id"] == "call_1"


def test_a_person_is_replaced_in_every_form() -> None:
    texts = (
        "Mr Zsigmond Tarkowsky called.",
        "TARKOWSKY said so; it is Tarkowsky's, see zsigmond.tarkowsky",
    )
    assert "tarkowsky" not in " ".join(scrub(LEVEL_1, *texts)).lower()


def test_dates_move_together_and_years_stay() -> None:
    one, two = scrub(LEVEL_1, "from 2021-03-04 on", "until 2021-03-14, all of 2021")
    first, second = (date.fromisoformat(t.split()[1].strip(",")) for t in (one, two))
    assert (second - first).days == 10
    assert first.weekday() == date(2021, 3, 4).weekday()
    assert first != date(2021, 3, 4)
    assert two.endswith("all of 2021")
    assert shifted("5 and 15 October 1993", 7) == "12 and 22 October 1993"


def test_types_say_what_happens_and_what_cannot() -> None:
    keep = Deidentification(min_level=1, types={"date": "keep"})
    assert scrub(keep, "from 2021-03-04 on") == ["from 2021-03-04 on"]
    strict = Deidentification(min_level=1, profile="strict")
    assert scrub(strict, "it was May 2021") != ["it was May 2021"]
    for wrong in ({"datum": "keep"}, {"secret": "keep"}, {"person": "shift"}):
        with pytest.raises(ValueError, match="no such type|can be"):
            Deidentification.model_validate({"types": wrong})


def test_one_key_variable_alone_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOYSIM_ID_KEY", "ab" * 32)
    monkeypatch.delenv("DEPLOYSIM_SURROGATE_KEY", raising=False)
    with pytest.raises(ProjectError, match="DEPLOYSIM_SURROGATE_KEY: not set"):
        load_keys(tmp_path, may_create=True)


def test_marked_texts_are_scored_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    text = "write to ann@lindenhof.de or Bob"
    row = {"text": text, "spans": [[9, 25, "EMAIL"], [29, 32, "PERSON"]]}
    path.write_text(json.dumps(row) + "\n")
    found = {r.type: (r.spans, r.whole) for r in score(Scrubber(KEY), list(read_marked(path))).rows}
    assert found == {"EMAIL": (1, 1), "PERSON": (1, 0), "all": (2, 1)}
    path.write_text('{"text": "a", "spans": [[0, 9, "X"]]}\n')
    with pytest.raises(ProjectError, match="line 1: not a marked text"):
        list(read_marked(path))


@needs_shared
@needs_model
@pytest.mark.parametrize(("name", "least"), [("tab_60", 0.8), ("presidio_research_large", 0.75)])
def test_level_2_strict_on_marked_texts(name: str, least: float) -> None:
    texts = list(read_marked(SHARED / "data" / "pii" / f"{name}.jsonl.gz"))[::6]
    policy = Deidentification(min_level=2, profile="strict")
    rows = {r.type: r for r in score(Scrubber(KEY, policy), texts).rows}
    assert rows["all"].recall >= least
    assert rows["PERSON"].recall >= 0.8


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("my mail is ann.lee@", "lindenhof.de thanks"),
        ("ann.lee", "@lindenhof.de is my mail"),
        ("my mail is ann.lee", "at lindenhof.de"),
        ("my mail: ann.", "lee@lindenhof.de"),
    ],
)
def test_a_mailbox_over_two_messages_is_replaced_in_both(one: str, two: str) -> None:
    texts = (
        Scrubber(KEY)
        .scrub([message(one), message("Go on.", "assistant"), message(two)], "c")
        .messages
    )
    joined = " ".join(m["content"] for m in texts)
    assert not any(part in joined for part in ("ann", "lee", "lindenhof"))


def test_an_address_that_ends_its_sentence_takes_no_word_of_the_next_message() -> None:
    said = [message("Write to ann.lee@lindenhof.test."), message("You are welcome.", "assistant")]
    first, second = Scrubber(KEY).scrub(said, "c").messages
    assert "ann.lee" not in first["content"] and first["content"].endswith(".")
    assert second["content"] == "You are welcome."


def test_a_name_in_json_is_a_persons_unless_its_object_is_a_things() -> None:
    for text in ('{"name": "Zqrrl Vexby"}', '{"id": 5, "name": "Vexby"}', 'so: {"name": "Vexby"'):
        assert "Vexby" not in scrub(LEVEL_0, text)[0]
    for text in (
        '{"name": "get_weather", "parameters": {"type": "object"}}',
        '{"name": "Calculator", "description": "adds"}',
        '{"name": "report.pdf", "size": 12}',
        '[{"name": "Blue Hotel", "price": 3}]',
    ):
        assert scrub(LEVEL_0, text) == [text]


def test_places_and_countries_are_replaced_in_chat() -> None:
    chat = Treatment(LEVEL_0, keyed_draw(KEY, "c"), keyed_draw(KEY, "u"), None)
    assert chat.of("LOCATION", "France") != "France"
    assert chat.of("ORGANIZATION", "NASA") == "NASA"
    assert chat.of("ORGANIZATION", "KLMN") != "KLMN"


def test_steps_over_messages_that_take_too_long_quarantine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Up:
        def check(self) -> None:
            raise TimeoutError

    monkeypatch.setattr(scrub_module, "Clock", Up)
    with pytest.raises(Quarantined, match="time_out"):
        scrub(LEVEL_0, "one", "two")


def test_a_marked_text_that_is_json_is_scored_as_it_is_written() -> None:
    text = '{"email": "ann@lindenhof.de", "n": 1}'
    (change,) = Scrubber(KEY, LEVEL_0).changes(text)
    assert text[change.start : change.end] == "ann@lindenhof.de"


def test_what_stands_at_the_edge_of_what_is_scanned_again_is_no_find() -> None:
    far = "row 12 of 345, " * 60
    (cleaned,) = scrub(LEVEL_0, f"{far}mail ann@lindenhof.de now {far}")
    assert cleaned.startswith(far) and cleaned.endswith(far)
    assert "lindenhof" not in cleaned
