"""Runs `deploysim` commands in this process and prints, as JSON, which files of the home below
lake/, ledger/, journal/, locks/ and the lists of withdrawals were opened or listed by whom: with a
frame of storage/ in the stack, or not."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import deploysim_assets

PACKAGE = Path(deploysim_assets.__file__).parent
STORAGE = str(PACKAGE / "storage")
HELD = ("lake", "ledger", "journal", "locks", "ledger.jsonl", "withdrawn.json")
WATCHED = ("open", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.mkdir")


def _of_storage(path: Any, home: Path) -> str | None:
    if not isinstance(path, str | os.PathLike):
        return None
    absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100 (bytes and strings alike)
    if not isinstance(absolute, str) or not absolute.startswith(f"{home}/"):
        return None
    top = absolute[len(str(home)) + 1 :].split("/")[0]
    return top if top in HELD or top.startswith("withdrawal.plan") else None


def watch(home: Path) -> Counter[tuple[bool, str, str]]:
    """Count (through storage/ or not, top of the path, our nearest file) of what is opened."""
    seen: Counter[tuple[bool, str, str]] = Counter()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WATCHED or not arguments:
            return
        top = _of_storage(arguments[0], home)
        if top is None:
            return
        frame, ours = sys._getframe(1), ""
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith(STORAGE):
                seen[True, top, ""] += 1
                return
            if not ours and name.startswith(str(PACKAGE)):
                ours = f"{name}:{frame.f_lineno}"
            frame = frame.f_back
        seen[False, top, ours] += 1

    sys.addaudithook(hook)
    return seen


def main() -> None:
    from deploysim_assets.cli.commands import main as deploysim

    home = Path(os.environ["DEPLOYSIM_HOME"]).resolve()
    seen = watch(home)
    for command in json.loads(sys.argv[1]):
        deploysim(command, standalone_mode=False)
    print(json.dumps([[*key, count] for key, count in seen.items()]))


if __name__ == "__main__":
    main()
