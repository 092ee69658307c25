"""What simulation_fidelity counts, what its check warns of, and what the report says."""

from typing import Any

import pytest

from deploysim_assets.assets.fidelity_rows import (
    Replayed,
    Verdict,
    ablations,
    discriminator_rows,
    name_of,
    named_tools,
    result_rows,
    statistics_row,
)
from deploysim_assets.project import Agents
from deploysim_assets.release_checks.fidelity import looks_real
from deploysim_assets.report.facts import Evidence, Fidelity, LedgerHead, ReleaseReport
from deploysim_assets.report.sections import sections
from deploysim_assets_tests.agents.whole_turns import result, said, turn

REAL = turn(said(("1", "read", '{"id": 1}')), result("1", '{"a": 1, "b": 2}'))


def _pair(number: int, content: str, state: str = "completed", source: str = "model") -> Replayed:
    simulated = turn(said(("x", "read", '{"id": 1}')), result("x", content, source))
    return Replayed(f"p{number}", f"c{number}", [], REAL, simulated, state)


def test_affordances_are_added_one_at_a_time() -> None:
    every = Agents.model_validate(
        {"simulator": {"model": "tools"}, "functions": {"read": "mine:read"}}
    )
    names = ["model", "recorded+model", "recorded+function+model"]
    assert [name_of(one) for one in ablations(every)] == names
    assert name_of(every) == "recorded+function+library+model"
    assert [name_of(one) for one in ablations(Agents())] == ["recorded"], "nothing answers nothing"
    assert ablations(Agents(affordances=("recorded",))) == []
    own = Agents.model_validate({"tools": {"read": {"affordances": ["library"]}}})
    assert ablations(own)[0].answered_by("read") == ("recorded",)


def _found(rows: list[dict[str, Any]], measure: str, **where: Any) -> dict[str, Any]:
    wanted = {"tool": None, "source": None} | where
    (row,) = [
        r for r in rows
        if r["measure"] == measure and all(r.get(k) == v for k, v in wanted.items())
    ]  # fmt: skip
    return row


def test_agreement_is_counted_in_all_and_by_source_and_tool() -> None:
    pairs = [
        _pair(1, '{"a": 1, "b": 2}', source="recorded"),
        _pair(2, '{"b": 2, "a": 1}'),
        _pair(3, '{"a": 1, "b": 3}'),
        _pair(4, "nothing", state="unanswerable"),
    ]
    rows = result_rows(pairs, {"read": "read"})
    assert (_found(rows, "exact")["k"], _found(rows, "json_equal")["k"]) == (1, 2)
    assert _found(rows, "fields")["value"] == pytest.approx((1 + 1 + 1 / 3 + 0) / 4)
    assert _found(rows, "exact", source="recorded")["value"] == 1
    assert _found(rows, "exact", tool="read")["n"] == 4
    assert _found(rows, "results", source="model")["value"] == 0.75
    assert _found(rows, "turns", source="unanswerable")["k"] == 1
    assert result_rows([], {}) == []


def test_only_what_looks_like_a_name_and_many_have_is_named() -> None:
    def calls(number: int, name: str) -> Replayed:
        simulated = turn(said(("x", name, "{}")), result("x", "ok", "model"))
        return Replayed(f"p{number}", f"c{number}", [], REAL, simulated, "completed")

    pairs = [calls(n, "send") for n in range(5)] + [calls(n, "ann@example.com") for n in range(5)]
    found = named_tools([*pairs, *[calls(9, "rare")] * 9])
    assert found == {"read": "read", "send": "send"} | dict.fromkeys(
        ("ann@example.com", "rare"), "other tools"
    )


def test_a_pair_without_a_pick_is_in_no_share() -> None:
    tools = frozenset({"read"})
    rows = discriminator_rows(
        [
            Verdict(tools, True, True),
            Verdict(tools | {"send"}, False, True),
            Verdict(tools, None, None),
        ]
    )
    assert [(r["n"], r["k"]) for r in rows if r["measure"] == "taken_for_real"] == [
        (2, 1), (2, 1), (1, 0)
    ]  # fmt: skip
    assert _found(rows, "picked_first")["value"] == 1
    nothing = discriminator_rows([Verdict(tools, None, None)])
    assert [(r["n"], r["value"], r["low"]) for r in nothing] == [(0, None, None)] * 2
    assert discriminator_rows([]) == []


def test_only_whole_turns_with_a_result_are_told_apart() -> None:
    chat = _pair(1, "x")._replace(simulated=turn())
    cut = _pair(2, "x", state="unanswerable")
    assert statistics_row([chat, cut], 0) | {"low": 0} == {
        "measure": "told_apart", "n": 0, "k": None, "value": None, "low": 0, "high": None,
    }  # fmt: skip


def _told(value: float | None, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"measure": "told_apart", "affordances": "model", "n": 40,
                           "every_affordance": True, "value": value}  # fmt: skip
    ends = {"low": None, "high": None} if value is None else {"low": value, "high": value}
    return row | ends | more


def test_the_check_warns_where_statistics_tell_and_where_nothing_is_known() -> None:
    assert looks_real([_told(0.7)]).passed
    assert not looks_real([_told(0.71)]).passed
    assert not looks_real([_told(None)]).passed
    assert not looks_real([]).passed
    assert looks_real([_told(0.9, every_affordance=False), _told(0.6)]).passed


def _said(rows: list[dict[str, Any]] | None) -> str:
    evidence = Evidence(verified=True, ledger=LedgerHead(records=0, head=None), manifests={})
    fidelity = None if rows is None else [Fidelity.model_validate(row) for row in rows]
    report = ReleaseReport(
        model_version="m2", predecessor="m1", behaviors=[], summary={}, registrations=[],
        fidelity=fidelity, evidence=evidence,
    )  # fmt: skip
    return " ".join(word for s in sections(report) if s.anchor == "fidelity" for word in s.said)


def test_the_report_says_what_it_means_for_the_forecast() -> None:
    assert _said(None) == "", "a project of chats has no such section"
    assert "nobody measured" in _said([])
    assert "off by more than their interval" in _said([_told(0.85)])
    assert "does not show that it is right" in _said([_told(0.6)])
    assert "Too few turns" in _said([_told(None)])
    assert "other settings" in _said([_told(0.5, every_affordance=False)])
    known = {"affordances": "model", "every_affordance": True, "n": 10, "value": 0.4}
    rows = [
        _told(0.6),
        known | {"measure": "taken_for_real", "k": 4, "low": 0.2, "high": 0.7},
        known | {"measure": "results", "source": "model", "k": 4},
        known | {"measure": "turns", "source": "unanswerable", "k": 4},
    ]
    text = _said(rows)
    assert "took 4 for the real one: 40% (20% to 70%)" in text
    assert "shown first" not in text
    always = known | {"measure": "picked_first", "k": 10, "value": 1.0, "low": 0.7, "high": 1.0}
    assert "did not go by what the turns say" in _said([*rows, always])
    assert "40% of the results were written by a model" in text
    assert "4 of 10 turns (40%) ended as unanswerable" in text
