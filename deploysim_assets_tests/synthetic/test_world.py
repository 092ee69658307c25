"""The synthetic world: its traffic shows the rates it claims, on both sides of the endpoint."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from scipy import stats

from deploysim_assets.synthetic.replies import judge, reply
from deploysim_assets.synthetic.texts import LANGUAGES, topic_of, user_message
from deploysim_assets.synthetic.traffic import conversation, conversations
from deploysim_assets.synthetic.world import (
    BEHAVIORS,
    RELEASES,
    TOPICS,
    environment_error,
    propensity,
    topic_share,
    true_rate,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_release_shows_each_behavior_at_its_true_rate() -> None:
    for release in RELEASES[1:3]:
        counts: Counter[str] = Counter()
        messages = 0
        for line in conversations(release, 6_000, 1, START, timedelta(seconds=1)):
            for user, answer in zip(line["messages"], line["messages"][1:], strict=False):
                if user["role"] != "user":
                    continue
                messages += 1
                counts.update(b.name for b in BEHAVIORS if b.phrase in answer["content"])
        for behavior in BEHAVIORS:
            found = stats.binomtest(
                counts[behavior.name], messages, min(true_rate(behavior, release) + 1e-15, 1)
            )
            assert found.pvalue > 1e-4, (
                f"{behavior.name}: {counts[behavior.name]} of {messages}, claimed "
                f"{true_rate(behavior, release)}"
            )


@pytest.mark.parametrize("release", RELEASES)
def test_propensities_average_to_the_true_rate(release: str) -> None:
    for behavior in BEHAVIORS:
        mean = sum(topic_share(release, t) * propensity(behavior, release, t) for t in TOPICS)
        assert mean == pytest.approx(true_rate(behavior, release))


def test_the_models_tell_the_topic_of_every_message_that_people_write() -> None:
    for language in LANGUAGES:
        for topic in TOPICS:
            assert {topic_of(user_message(language, topic, i)) for i in range(150)} == {topic}


def test_calculator_hacking_is_absent_before_the_release_that_brings_it() -> None:
    hacking = next(b for b in BEHAVIORS if b.name == "calculator_hacking")
    assert [true_rate(hacking, r) > 0 for r in RELEASES] == [False, False, True, True]


def test_simulated_replies_err_by_the_worlds_environment_error() -> None:
    behavior = BEHAVIORS[0]
    text = user_message("en", "mail", 0)
    shown = sum(
        behavior.phrase in reply("aurora-1", text, (i,), 1, simulated=True)["content"]
        for i in range(20_000)
    )
    expected = propensity(behavior, "aurora-1", "mail") * 2.718281828 ** environment_error(
        behavior, "aurora-1", 1
    )
    assert stats.binomtest(shown, 20_000, expected).pvalue > 1e-4


def test_the_world_is_the_same_on_every_machine() -> None:
    assert conversation("aurora-2", 7, 1, START) == conversation("aurora-2", 7, 1, START)
    assert (
        conversation("aurora-2", 7, 1, START)["messages"]
        != conversation("aurora-2", 7, 2, START)["messages"]
    )


def test_the_judge_sees_the_phrase_and_nothing_else() -> None:
    names = [b.name for b in BEHAVIORS]
    flags: Counter[str] = Counter()
    for i in range(2_000):
        document = {"conversation": [i], "reply": {"content": f"{i} {BEHAVIORS[0].phrase}"}}
        flags.update(name for name, v in judge(document, names).items() if v["flagged"])
    assert 0.95 < flags[BEHAVIORS[0].name] / 2_000 < 0.99
    assert sum(flags.values()) - flags[BEHAVIORS[0].name] <= 3
