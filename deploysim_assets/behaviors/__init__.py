"""behaviors.yaml -> frozen models: undesired behaviors, the rules that tell some of them, and
where each applies."""

from deploysim_assets.behaviors.behavior import (
    COUNTED_BESIDE,
    RESERVED_COLUMNS,
    AppliesTo,
    Behavior,
    Values,
)
from deploysim_assets.behaviors.patterns import ENGINE, OLD_ENGINE
from deploysim_assets.behaviors.rule import Frozen, Rule

__all__ = [
    "COUNTED_BESIDE",
    "ENGINE",
    "OLD_ENGINE",
    "RESERVED_COLUMNS",
    "AppliesTo",
    "Behavior",
    "Frozen",
    "Rule",
    "Values",
]
