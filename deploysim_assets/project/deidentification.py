"""How identifiers are looked for and replaced."""

import importlib.util
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from deploysim_assets.behaviors import Frozen, Values

EVERY_LANGUAGE = "*"


class Ner(Frozen):
    """The models of level 2: language (as the logs name it, or "*" for all, also unnamed) ->
    folder, relative to the home."""

    engine: Literal["spacy", "transformers", "gliner"]
    models: dict[str, str] = Field(min_length=1)


class Deidentification(Frozen):
    """The level every conversation must be scanned at: 0 patterns and secrets, 1 plus gazetteer, 2
    plus statistical NER.

    With `languages`, conversations in others, and those whose log names none, are quarantined.
    `replacement` puts realistic surrogates or numbered placeholders.  `surrogate_key: run` draws a
    fresh key per run, so that not even the keeper of the key file can tell which surrogate an
    identifier got; the texts then change with every run.
    """

    min_level: Literal[0, 1, 2] = 2
    languages: Values = None
    ner: Ner | None = None
    replacement: Literal["surrogates", "placeholders"] = "surrogates"
    surrogate_key: Literal["project", "run"] = "project"

    def unreachable(self, home: Path) -> str | None:
        """Why this installation cannot scan at `min_level`, with the mend; None where it can."""
        if self.min_level < 2:
            return None
        if self.ner is None:
            return (
                "deidentification.ner: missing, but min_level 2 needs a model that finds names; "
                "name one (`ner: {engine: spacy, models: {en: path}}`), "
                "or set `deidentification: {min_level: 0}` to accept in writing that names stay"
            )
        module = self.ner.engine
        if importlib.util.find_spec(module) is None:
            return (
                f"deidentification.ner.engine: {module} is not installed; `pip install "
                f"'deploysim[{module}]'`"
            )
        missing = [
            f"{language}: {path}"
            for language, path in self.ner.models.items()
            if not (home / path).is_dir()
        ]
        return (
            f"deidentification.ner.models: no such folder ({', '.join(missing)}); models are "
            "never downloaded, put one there"
            if missing
            else None
        )

    def at(self, home: Path) -> Self:
        """The same policy with the folders of its models made absolute."""
        if self.ner is None:
            return self
        models = {language: str(home / path) for language, path in self.ner.models.items()}
        return self.model_copy(update={"ner": self.ner.model_copy(update={"models": models})})
