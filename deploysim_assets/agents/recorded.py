"""Affordance: the recorded trajectory. The same call in the same world gets the same answer."""

import re

from deploysim_assets.agents.calls import canonical
from deploysim_assets.agents.moment import Example, Moment, Result
from deploysim_assets.agents.trajectory import Made, world_of
from deploysim_assets.project import Agents

_WORD = re.compile(r"\w+")


class Recorded:
    """Answers from what the prefix's own conversation shows: its messages, and its real turn."""

    name = "recorded"

    def __init__(self, settings: Agents) -> None:
        self._settings = settings

    def look(self, moment: Moment) -> Result | list[Example]:
        """The recorded answer where the recording made the same writes before the same call, the
        n-th to the n-th such call; else the most similar calls of the tool."""
        world = world_of(moment, self._settings)
        key, rollout = canonical(moment.call), world.so_far(moment.steps)
        of_turn, earlier = (
            [m for m in walked.made if m.key == key and m.before == rollout.after]
            for walked in (world.recorded, world.earlier)
        )
        if of_turn or earlier:
            nth = sum(m.key == key and m.before == rollout.after for m in rollout.made)
            same = of_turn or earlier[-1:]
            return Result(same[min(nth, len(same) - 1)].content, "recorded")
        made = world.earlier.made + world.recorded.made
        every = [m for m in made if m.call.name == moment.call.name]
        shown = most_similar(key, every, self._settings.library_examples)
        return [Example(m.call, m.content, "recorded") for m in shown]


def most_similar(key: str, made: list[Made], count: int) -> list[Made]:
    """The calls whose arguments share the most words with those of a call, later ones first among
    equals."""
    words = set(_WORD.findall(key))

    def likeness(one: tuple[int, Made]) -> tuple[float, int]:
        others = set(_WORD.findall(one[1].key))
        return len(words & others) / len(words | others), one[0]

    ranked = sorted(enumerate(made), key=likeness, reverse=True)
    return [m for _, m in ranked[:count]]
