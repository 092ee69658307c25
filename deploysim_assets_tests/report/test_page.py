"""The page of a release: what others wrote stays text, what was not measured is said, and equal
facts give an equal page."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploysim_assets.report.facts import BANNER, SCHEMA_FILE, ReleaseReport, json_schema
from deploysim_assets.report.page import escaped, escaped_sentence, html, markdown, preview
from deploysim_assets.report.sections import sections
from deploysim_assets.storage.pages import without
from deploysim_assets_tests.report.release import IMAGE, LONG, SCRIPT, facts


class _Seen(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> str:
    return html(facts())


def test_what_others_wrote_is_shown_as_text(page: str) -> None:
    seen = _Seen(page)
    assert "script" not in seen.elements and "img" not in seen.elements
    assert SCRIPT in seen.text
    assert IMAGE in seen.text
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert "default-src 'none'" in page


def test_the_page_names_no_other_host_and_is_small(page: str) -> None:
    seen = _Seen(page)
    where = [v or "" for name, v in seen.attributes if name in ("src", "href", "xlink:href")]
    assert where and all(one.startswith("#") for one in where)
    assert set(re.findall(r"https?://[^\"' ]+", page)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink",
    }  # fmt: skip
    assert "@import" not in page and "url(http" not in page
    assert len(page.encode()) < 2_000_000


def test_every_link_leads_somewhere_and_no_id_stands_twice(page: str) -> None:
    seen = _Seen(page)
    assert len(seen.ids) == len(set(seen.ids))
    links = {(v or "")[1:] for name, v in seen.attributes if name == "href"}
    assert links <= set(seen.ids)
    assert "trace-1" in links, "from a figure to the items that it rests on"


def test_the_order_is_from_the_verdict_down_to_the_evidence() -> None:
    assert [section.anchor for section in sections(facts())] == [
        "verdict", "promised", "forecast", "not-measured", "graders", "awareness",
        "fidelity", "novel", "score", "rests-on", "limits", "evidence",
    ]  # fmt: skip


def test_equal_facts_give_equal_bytes_and_no_clock_is_read(page: str) -> None:
    assert html(facts()) == page


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (
            "1 behavior above the threshold, 1 behavior blocked, 1 behavior below",
            True,
        ),
        ("1 of these accepted on the record", True),
        ("people confirm at most 12% of its flags", True),
        ("drifted: 9 of 30 sentinels changed (7 to clean, 2 to flagged; 1 between", True),
        ("kappa 0.86 (0.70 to 0.97), 2 of 40 verdicts differ", True),
        ("0 (below", True),
        ("Fewer than five events were simulated", True),
        ("lognormal around 0.5", True),
        ("its median error was 1.66x and the simulation's 1.20x", True),
        ("More in simulation than in production: metagaming", True),
        ("with an area under the curve of 0.83 (0.31 to 0.60), above 0.7", True),
        ("No full audit yet", True),
        ("UNVERIFIED", False),
    ],
)
def test_what_a_reviewer_looks_for_is_said(page: str, words: str, there: bool) -> None:
    text = " ".join(_Seen(page).text.split())
    assert (words in text) is there


def test_a_release_that_is_not_scored_yet_says_so_and_draws_no_score() -> None:
    found = facts(scored=False)
    page = html(found)
    text = _Seen(page).text
    assert "Not scored yet: production of this release has not been graded." in text
    assert "figure calibration" not in page and "figure noise_floor" not in page
    assert "figure forecast" in page
    score = next(s for s in sections(found) if s.anchor == "score")
    assert not score.tables


def test_a_first_release_without_a_forecast_has_a_page_too() -> None:
    found = facts()
    bare = found.model_copy(
        update={
            "behaviors": [
                b.model_copy(update=dict.fromkeys(("forecast", "n", "k", "multiplicative_error"))
                             | {"second_forecasts": {}})
                for b in found.behaviors
            ],
            "promises": [], "terms": None, "steps": [], "summary": {}, "history": [],
            "narrowing": [], "awareness": None, "novel": None, "trace": [], "made": [],
        }
    )  # fmt: skip
    text = _Seen(html(bare)).text
    for words in (
        "There is no forecast of this release.", "Nothing was promised", "Not looked at yet.",
        "Production was counted, and there is no forecast to hold against it.",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("made", [html, markdown], ids=["html", "md"])
def test_figures_whose_seals_do_not_hold_carry_a_banner(made) -> None:
    assert BANNER in made(facts(verified=False))
    assert BANNER not in made(facts())
    assert "trust none of them" in made(facts(verified=False))


def test_the_json_says_its_format_and_is_what_the_published_schema_describes() -> None:
    found = facts()
    document = json.loads(found.model_dump_json())
    assert document["format"] == "urn:deploysim:release-report:v1"
    assert ReleaseReport.model_validate(document) == found
    published = json.loads(SCHEMA_FILE.read_text())
    assert published == json_schema(), "python -m deploysim_assets.report.facts writes it anew"
    assert set(document) == set(published["$defs"]["ReleaseReport"]["properties"])
    assert published["$id"] == document["format"]


def test_two_releases_stand_side_by_side_and_other_graders_are_said() -> None:
    mine, other = facts(), facts(scored=False)
    other = other.model_copy(
        update={
            "model_version": "alpha",
            "behaviors": [b.model_copy(update={"grader_id": "another"}) for b in other.behaviors],
        }
    )
    both = mine.model_copy(update={"compared_with": other})
    text = " ".join(_Seen(html(both)).text.split())
    assert "beta: verdict" in text and "alpha: verdict" in text
    assert "Not the same grader on both, so that rates cannot be compared" in text
    assert "Beside alpha" in markdown(both)


def test_markdown_shows_what_others_wrote_as_text_and_cells_stay_cells() -> None:
    said = markdown(facts())
    assert "<script" not in said.replace("\\<script", "")
    assert "<img" not in said.replace("\\<img", "")
    tables = [line for line in said.splitlines() if line.startswith("|")]
    for line, after in zip(tables, tables[1:], strict=False):
        if after.startswith("| ---"):
            header = line
        elif not line.startswith("| ---") and line != after and "header" in locals():
            assert _cells(line) == _cells(header) or _cells(line) == _cells(after)


def _cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line))


@given(st.text(alphabet="`ab <>|\\\n", max_size=12), st.text(alphabet="`a ", max_size=6))
def test_no_backticks_let_markup_into_a_sentence(hostile: str, after: str) -> None:
    found = escaped_sentence(f"said: {hostile}<img>{after} `deploysim report`")
    assert "\n" not in found
    assert not re.findall(r"(?<!\\)(?:\\\\)*[<|]", found)


def test_a_release_of_a_hundred_behaviors_stays_below_two_megabytes() -> None:
    found = facts()
    many = [
        b.model_copy(update={"behavior": f"behavior_{i}_{b.behavior[:20]}"})
        for i in range(13)
        for b in found.behaviors
    ]
    items = [found.trace[0].items[0]] * (1_600 // (2 * len(many)))
    trace = [
        found.trace[0].model_copy(update={"behavior": b.behavior, "side": side, "items": items})
        for b in many
        for side in ("candidate", "production")
    ]
    big = found.model_copy(update={"behaviors": many, "trace": trace, "made": found.made * 80})
    assert len(many) > 100
    assert len(html(big).encode()) < 2_000_000


@given(st.text(max_size=40))
def test_no_text_breaks_out_of_a_cell_of_markdown(text: str) -> None:
    found = escaped(text)
    assert "\n" not in found
    assert not re.findall(r"(?<!\\)[|<>`\[]", found.replace("\\\\", ""))


def test_dagsters_preview_comes_in_parts() -> None:
    first, *tables = preview(facts())
    assert "above the threshold" in first
    assert tables and tables[0].startswith("| behavior |")


def test_a_withdrawal_takes_its_lines_out_of_a_page_and_nothing_else(page: str) -> None:
    gone = f"{1:032x}"
    kept, count = without(page, frozenset({gone}))
    assert count == 4, "two behaviors on two sides"
    assert gone not in kept
    assert f"{2:032x}" in kept
    before, after = _Seen(page), _Seen(kept)
    assert before.elements.count("tr") - after.elements.count("tr") == 4
    assert before.elements.count("table") == after.elements.count("table")
    assert without(page, frozenset({"nobody"})) == (page, 0)
    by_request = without(page, frozenset({"r1"}))
    assert by_request == (kept, 4)


def test_a_name_longer_than_any_figure_is_cut_in_figures_alone(page: str) -> None:
    assert LONG in _Seen(page).text.replace("\u200b", "")
    assert f"{LONG[:43]}…" in page
