"""JSON schemas of deploysim.yaml and the behaviors file, for editors: made from the models, shipped
beside this file. `python -m deploysim_assets.project.json_schema` writes them anew."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from deploysim_assets.behaviors import Behavior
from deploysim_assets.project.file import TAXONOMIES
from deploysim_assets.project.project import Project

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = "#/$defs/{model}"
FOLDER = Path(__file__).parent / "schemas"


def behaviors_schema() -> dict[str, Any]:
    """The schema of behaviors.yaml: a list of behaviors, or the packaged taxonomy and what is
    changed of it."""
    listed = TypeAdapter(list[Behavior]).json_schema(ref_template=_REFERENCE)
    definitions: dict[str, Any] = listed.pop("$defs")
    names = {"type": "array", "items": {"type": "string"}}
    names_of_taxonomies = list(TAXONOMIES)
    changed = {k: v for k, v in definitions["Behavior"].items() if k != "required"}
    taxonomy = {
        "type": "object",
        "description": "Packaged taxonomies, less `without`, changed by `override`, and `add`.",
        "properties": {
            "taxonomy": {
                "anyOf": [
                    {"enum": names_of_taxonomies},
                    {"type": "array", "items": {"enum": names_of_taxonomies}, "minItems": 1},
                ]
            },
            "only": names,
            "without": names,
            "override": {"type": "array", "items": changed | {"required": ["name"]}},
            "add": {"type": "array", "items": {"$ref": "#/$defs/Behavior"}},
        },
        "required": ["taxonomy"],
        "additionalProperties": False,
    }
    return {"$schema": _DRAFT, "title": "deploysim behaviors", "anyOf": [listed, taxonomy],
            "$defs": definitions}  # fmt: skip


def project_schema() -> dict[str, Any]:
    """The schema of deploysim.yaml. The home is the folder of the file, and no setting; `behaviors`
    is a file's name, or what such a file holds."""
    found = Project.model_json_schema(ref_template=_REFERENCE)
    del found["properties"]["home"]
    behaviors = behaviors_schema()
    found["$defs"] |= behaviors["$defs"]
    found["properties"]["behaviors"] = {
        "description": "Name of the behaviors file, or its content.",
        "anyOf": [{"type": "string"}, *behaviors["anyOf"]],
    }
    found["required"] = [key for key in found["required"] if key not in ("home", "behaviors")]
    return {"$schema": _DRAFT, **found, "title": "deploysim.yaml"}


SCHEMAS = {
    "deploysim.schema.json": project_schema,
    "behaviors.schema.json": behaviors_schema,
}


def first_line(name: str) -> str:
    """The first line of a YAML file that tells editors its schema, shipped under this name."""
    return f"# yaml-language-server: $schema={(FOLDER / name).as_uri()}\n"


def _write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, made in SCHEMAS.items():
        (FOLDER / name).write_text(json.dumps(made(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
