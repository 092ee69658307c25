"""The benchmark of broken-off turns, in small."""

from deploysim_assets.benchmarks.broken_off import HOW, WAYS, measured


def test_only_limits_from_none_to_every_hold_however_turns_are_broken_off() -> None:
    found = measured(2, 300)
    assert set(found) == set(WAYS)
    complete, alone, others, bounds = HOW
    share, never = found["never"]
    assert share == 0
    assert never[complete] == never[alone] == never[bounds]
    for way, (broken, told) in found.items():
        assert (broken > 0) == (way != "never")
        assert not any(one.passes for one in told[bounds]), way
        assert sum(one.holds for one in told[bounds]) >= 10, "of 12"
    _, on_purpose = found["all that would show it, 10 in 100"]
    for how in (alone, others):
        assert sum(one.rate for one in on_purpose[how]) == 0
        assert sum(one.passes for one in on_purpose[how]) >= 6, "a gate is deceived"
