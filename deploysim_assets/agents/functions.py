"""Affordance: functions of the project that answer a tool."""

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from deploysim_assets.agents.moment import Example, Moment, Result
from deploysim_assets.project import ProjectError

Function = Callable[[dict[str, Any], dict[str, Any], Moment], Any]


class Functions:
    """Answers a tool by `f(arguments, state, moment)`, which returns text, a dict or a list.

    It must be deterministic: a rerun calls it again, and goes on from what it says.  Where it
    raises it answers nothing, and `failed` counts that by tool and error.
    """

    name = "function"

    def __init__(self, by_tool: Mapping[str, Function]) -> None:
        self._by_tool = by_tool
        self.failed: Counter[str] = Counter()

    def stats(self) -> dict[str, Any]:
        """What functions raised, by tool."""
        return {"raised": dict(sorted(self.failed.items()))} if self.failed else {}

    def look(self, moment: Moment) -> Result | list[Example]:
        """What the tool's function says; nothing where the tool has none."""
        function = self._by_tool.get(moment.call.name)
        if function is None:
            return []
        try:
            said = function(moment.arguments, moment.state, moment)
            if isinstance(said, dict | list):
                said = orjson.dumps(cast("Any", said)).decode()
        except Exception as wrong:  # noqa: BLE001 (what a candidate says must not end the run)
            self.failed[f"{moment.call.name}: {type(wrong).__name__}"] += 1
            return []
        if not isinstance(said, str):
            raise ProjectError(
                f"agents.functions: {moment.call.name}: the function returned a "
                f"{type(said).__name__}; it must return text, a dict or a list"
            )
        return Result(said, "function")


def load_functions(named: Mapping[str, str]) -> dict[str, Function]:
    """The functions that the settings name (`module:function`) by tool; ProjectError where one
    cannot be loaded."""
    return {tool: _load(tool, name) for tool, name in named.items()}


def _load(tool: str, name: str) -> Function:
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as wrong:
        raise ProjectError(
            f"deploysim.yaml: agents.functions.{tool}: {name}: {wrong}; name an importable "
            "`module:function`"
        ) from None
    if not callable(found):
        raise ProjectError(f"deploysim.yaml: agents.functions.{tool}: {name} is no function")
    return cast("Function", found)
