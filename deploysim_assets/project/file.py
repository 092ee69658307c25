"""deploysim.yaml and the behaviors file -> a checked Project; every mistake names file, key and
mend."""

import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from deploysim_assets.behaviors import Behavior
from deploysim_assets.project import CONFIG_FILE, Project, ProjectError
from deploysim_assets.project.copies import kept_apart
from deploysim_assets.project.nearest import nearest
from deploysim_assets.project.running import Storage

BEHAVIORS_FILE = "behaviors.yaml"


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; a registry must not lose a line
    like that."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [str(cast("object", self.construct_object(k, deep=True))) for k, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise ProjectError(
            f"{path}: there is no such file; `deploysim init` writes one to start from"
        ) from None
    except UnicodeDecodeError as wrong:
        raise ProjectError(
            f"{path}: not UTF-8 at byte {wrong.start}; save the file as UTF-8"
        ) from wrong
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ProjectError(
            f"{path}{where}: not valid YAML: {wrong.problem or wrong.context}; mend that line"
        ) from wrong


_MENDS = {
    "missing": "add the key",
    "string_pattern_mismatch": "use the characters that the pattern allows",
    "too_short": "list at least one",
}


def _explain(wrong: ValidationError, path: Path, behaviors_path: Path) -> ProjectError:
    lines: list[str] = []
    for error in wrong.errors(include_url=False, include_input=False, include_context=False):
        loc = error["loc"]
        file = behaviors_path if loc and loc[0] == "behaviors" else path
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(
            "."
        )
        said = error["msg"].removeprefix("Value error, ")
        mend = _MENDS.get(error["type"])
        if error["type"] == "extra_forbidden":
            said, mend = "there is no such setting", nearest(loc)
        lines.append(f"{file}: {f'{key}: ' if key else ''}{said}{f' -> {mend}' if mend else ''}")
    return ProjectError("\n".join(lines))


TAXONOMY = Path(__file__).parent.parent / "grading" / "taxonomy.yaml"
"""The behaviors that deploysim ships."""

TAXONOMIES = {"packaged": TAXONOMY, "agentic": TAXONOMY.with_name("agentic_taxonomy.yaml")}
"""All of them by the names that a behaviors file calls them; agentic are those of whole turns."""


def _with_taxonomy(form: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The shipped behaviors, less those in `without`, changed by `override`, and followed by
    those in `add`. (`off` is a truth value in YAML.)"""
    said: Any = form.get("taxonomy")
    named_ones = cast("list[Any]", said if isinstance(said, list) else [said])
    unknown = set(form) - {"taxonomy", "only", "without", "override", "add"}
    wrong = [one for one in named_ones if not isinstance(one, str) or one not in TAXONOMIES]
    if unknown or wrong or not named_ones:
        raise ProjectError(
            f"{path}: a mapping starts with `taxonomy: packaged`, `taxonomy: agentic` or a list of "
            "both and may hold only, without, override and add; else list the behaviors"
        )
    files = [TAXONOMIES[one] for one in dict.fromkeys(named_ones)]
    shipped = {
        b["name"]: b for file in files for b in cast("list[dict[str, Any]]", _read_yaml(file))
    }
    override = {
        str(b.get("name")): b for b in cast("list[dict[str, Any]]", form.get("override") or [])
    }
    only, without = (cast("list[str]", form.get(key) or []) for key in ("only", "without"))
    named = {*only, *without, *override}
    strange = sorted(named - set(shipped))
    if strange:
        raise ProjectError(
            f"{path}: {', '.join(strange)}: not in the {' and '.join(named_ones)} taxonomy; it "
            f"has: {', '.join(shipped)}"
        )
    wanted = [name for name in shipped if name not in without and name in (only or shipped)]
    return [shipped[name] | override.get(name, {}) for name in wanted] + list(form.get("add") or [])


def _read_behaviors(path: Path) -> Any:
    found = _read_yaml(path)
    return _with_taxonomy(cast("dict[str, Any]", found), path) if isinstance(found, dict) else found


def load_behaviors(path: Path) -> tuple[Behavior, ...]:
    """The behaviors of a file by itself; ProjectError says what is wrong and the mend."""
    try:
        return TypeAdapter(tuple[Behavior, ...]).validate_python(_read_behaviors(path))
    except ValidationError as wrong:
        raise ProjectError(f"{path}: {wrong.errors(include_input=False)[0]['msg']}") from None


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def local_folder(name: str | Path, where: str) -> Path:
    """A folder on a disk, absolute; ProjectError for a URL, of which a folder named `s3:` would be
    made. `where` says where it was named."""
    if _URL.match(str(name)):
        raise ProjectError(
            f"{where}: {str(name).partition(':')[0]}://... is a bucket, and this needs a home in a "
            "folder on a disk: name one (what is made there goes into a bucket, and comes out of "
            "one, with `deploysim home copy`; other commands work on a home in a bucket). Logs "
            "may lie in a bucket: name the URL in releases: logs.path of deploysim.yaml"
        )
    return Path(name).resolve()


class Place(NamedTuple):
    """A folder or a URL, and what names it."""

    place: str
    named_by: str


def home_place() -> Place:
    """Where the home is: what DEPLOYSIM_HOME says, else `storage.url` of the deploysim.yaml in the
    current folder, else that folder. ProjectError where that cannot be read."""
    if named := os.environ.get("DEPLOYSIM_HOME"):
        return Place(named, "DEPLOYSIM_HOME")
    path = Path(CONFIG_FILE).resolve()
    if not path.exists() or b"storage" not in path.read_bytes():
        return Place(".", "the current folder")
    raw = _read_yaml(path)
    said: Any = cast("dict[str, Any]", raw).get("storage") if isinstance(raw, dict) else None
    try:
        url = Storage.model_validate({} if said is None else said).url
    except ValidationError as wrong:
        raise ProjectError(
            f"{path}: storage: {wrong.errors(include_input=False)[0]['msg']}; write `storage: "
            "{url: s3://BUCKET/PREFIX}`, or a folder, or drop the key"
        ) from None
    if url is None:
        return Place(".", "the current folder")
    return Place(url if _URL.match(url) else str(path.parent / url), f"storage.url of {path}")


def home_folder() -> Path:
    """The home where it must be a folder; ProjectError where it is a URL."""
    return local_folder(*home_place())


def load_project(home: Path) -> Project:
    """Read and check deploysim.yaml (and the behaviors file that it names) in `home`;
    ProjectError says what is wrong and the mend."""
    path = home / CONFIG_FILE
    kept_apart(home)  # refuses a copy that is not whole
    raw = _read_yaml(path)
    if not isinstance(raw, dict):
        raise ProjectError(
            f"{path}: the file must be a mapping with the keys releases, endpoint, behaviors; "
            "see `deploysim guide`"
        )
    config = cast("dict[str, Any]", raw)
    if "home" in config:
        raise ProjectError(f"{path}: home: the home is the folder of this file; drop the key")
    behaviors = config.get("behaviors", BEHAVIORS_FILE)
    behaviors_path = path
    if isinstance(behaviors, str):
        behaviors_path = home / behaviors
        behaviors = _read_behaviors(behaviors_path)
    elif isinstance(behaviors, dict):
        behaviors = _with_taxonomy(cast("dict[str, Any]", behaviors), behaviors_path)
    try:
        return Project.model_validate(config | {"home": home, "behaviors": behaviors})
    except ValidationError as wrong:
        raise _explain(wrong, path, behaviors_path) from None
