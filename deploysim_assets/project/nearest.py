"""The setting that was meant, where a key is none."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

from deploysim_assets.project.project import Project


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model within a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _keys(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def nearest(place: Sequence[str | int]) -> str:
    """What to write in place of an unknown key: the nearest one that there is, or all of them. The
    place is where pydantic found it: keys and positions, the unknown key last."""
    *parents, unknown = place
    models = [Project]
    for part in parents:
        inner = [m for model in models for m in _models(_keys(model).get(str(part)))]
        models = inner or models  # a position, a key of one's own, or the name of a variant
    known = sorted({key for model in models for key in _keys(model)} - {"home"})
    found = get_close_matches(str(unknown), known, 1)
    return f"did you mean {found[0]!r}?" if found else f"there are: {', '.join(known)}"
