"""One run of a panel over items: who is asked, what is in the journal, and what becomes of it.
Every reply takes one way down, to requests, and one way up, to its row of the grades table."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deploysim_assets.behaviors import ENGINE, Behavior, Rule
from deploysim_assets.endpoint.ask import ask
from deploysim_assets.endpoint.budget import Account, open_account
from deploysim_assets.endpoint.client import Outcome
from deploysim_assets.endpoint.wire import about, request_key
from deploysim_assets.grading import judge, judge_2
from deploysim_assets.grading.answers import (
    UnusableError,
    Verdict,
    Verdicts,
    supported,
    texts_of,
    verdicts,
)
from deploysim_assets.grading.attacks import attack
from deploysim_assets.grading.document import Document, document
from deploysim_assets.grading.item import Item
from deploysim_assets.grading.judge import Questions, names_of
from deploysim_assets.grading.panel import Panel
from deploysim_assets.grading.registered_rules import REGISTERED
from deploysim_assets.grading.rules import NotTold, holds
from deploysim_assets.grading.votes import Opinion, vote
from deploysim_assets.project import Endpoint, Project
from deploysim_assets.schema import turn_messages
from deploysim_assets.storage.journal import Journal, open_journal

_MOST_CUT = 0.5
"""Where more of what a behavior goes by was left out, "not flagged" says nothing."""

NO_SKIP: frozenset[str] = frozenset()


class Desk(NamedTuple):
    """Where a run asks: the judge's endpoint, the journal's file, the account that pays and whom to
    tell of it."""

    endpoint: Endpoint
    journal_file: Path
    account: Account
    log: Callable[[str], None] | None


class Beside(Protocol):
    """What is asked together with items that the journal holds no answers about, and not without
    them: `begin` says, before anything is paid for, that it is."""

    @property
    def is_due(self) -> bool: ...
    def begin(self) -> None: ...
    def requests(self) -> Iterable[dict[str, Any]]: ...


class _Asked(NamedTuple):
    """What the judges are asked about an item: a request for each member of the panel, and those of
    its repeat."""

    behaviors: tuple[Behavior, ...]
    read: Document | None
    first: list[dict[str, Any]]
    again: list[dict[str, Any]]


class _Told(NamedTuple):
    """What one request came to: the verdicts, or the state without them."""

    status: str
    error: str | None
    verdicts: Verdicts | None


def drawn(item: Item, share: float, what: str) -> bool:
    """Whether an item is in a random part of that share: by a hash of its id, so that the part is
    the same on every run and independent of every other part."""
    if not share:
        return False
    digest = hashlib.sha256(f"{what} {item.prefix['prefix_id']}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


class GradingRun:
    """A panel at work on items: its requests, and their answers in a journal.

    `secret` is the project's key: the code around each document is an HMAC of it, the same on every
    rerun.  `occasion` makes all requests those of one occasion, which no other's answers serve.
    """

    def __init__(
        self,
        panel: Panel,
        journal: Journal,
        secret: bytes,
        model_version: str = "",
        desk: Desk | None = None,
        occasion: str = "",
    ) -> None:
        self.panel, self.journal, self.model_version = panel, journal, model_version
        self.outcome = Outcome()
        self._secret, self._desk, self._occasion = secret, desk, occasion
        self._grading_id, self._old = panel.grading_id, panel.prompt == judge_2.PROMPT_VERSION
        self._read, self._repair = (
            (judge_2.verdicts, judge_2.repair) if self._old else (verdicts, judge.repair)
        )
        self._questions: dict[tuple[str, ...], Questions] = {}
        self.seen: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.beside: Beside | None = None

    @classmethod
    @contextlib.contextmanager
    def of(
        cls,
        panel: Panel,
        project: Project,
        journal_file: Path,
        secret: bytes,
        model_version: str,
        log: Callable[[str], None] | None = None,
        occasion: str = "",
    ) -> "Generator[GradingRun]":
        """A run over a partition's journal, which is locked as long as it lasts."""
        with open_journal(journal_file) as journal:
            desk = None
            if project.judge is not None:
                endpoint, account = project.judge_endpoint(), open_account(project)
                desk = Desk(endpoint, journal_file, account, log)
            yield cls(panel, journal, secret, model_version, desk, occasion)

    # the way down

    def ask(self, requests: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Ask for every answer that the journal does not hold, repairs included."""
        if self._desk is None:
            return
        endpoint, file, account, log = self._desk
        beside, wanted = self.beside, requests
        if beside is not None and (beside.is_due or self._lacks_one_of(requests())):
            beside.begin()
            self.beside = None
            wanted = lambda: chain(beside.requests(), requests())  # noqa: E731
        self.outcome = self.outcome.plus(
            ask(wanted, endpoint, self.journal, file, self._repair, account=account, log=log)
        )

    def _lacks_one_of(self, requests: Iterable[dict[str, Any]]) -> bool:
        return any(request_key(request) not in self.journal for request in requests)

    def on_occasion(self, occasion: str) -> "GradingRun":
        """The same judges over the same journal, asked anew for an occasion, once each."""
        panel = self.panel
        if panel.judge is not None:
            once = panel.judge.model_copy(update={"repeat_share": 0.0})
            panel = panel._replace(judge=once)
        return GradingRun(
            panel, self.journal, self._secret, self.model_version, self._desk, occasion
        )

    def requests(
        self, items: Iterable[Item], skip: AbstractSet[str] = NO_SKIP
    ) -> Iterator[dict[str, Any]]:
        """The judges' requests for the items that have a reply and a behavior to be judged for."""
        for item in items:
            if (asked := self._asked(item, skip)) is not None:
                for request in (*asked.first, *asked.again):
                    yield about(item.prefix["prefix_id"], request)

    def screen_requests(self, items: Iterable[Item]) -> Iterator[dict[str, Any]]:
        """The first stage's requests: those of the judge, to the smaller model. None where a
        rule screens."""
        screen = self.panel.judge and self.panel.judge.screen
        if screen and screen.model:
            for item in items:
                if (asked := self._asked(item, NO_SKIP)) is not None:
                    first = asked.first[0] | {"model": screen.model}
                    yield about(item.prefix["prefix_id"], first)

    def _asked(self, item: Item, skip: AbstractSet[str]) -> _Asked | None:
        settings = self.panel.judge
        if settings is None or item.reply is None:
            return None
        behaviors = self.panel.judged(item, skip)
        if not behaviors:
            return None
        if self._old:
            one = judge_2.ask(item, list(behaviors), settings.members[0], settings)
            return _Asked(behaviors, None, [one], [])
        read = document(item, settings.max_document_tokens)

        def put(order: tuple[Behavior, ...], occasion: str) -> list[dict[str, Any]]:
            names = tuple(b.name for b in order)
            if (questions := self._questions.get(names)) is None:
                questions = self._questions[names] = Questions(order)
            return [
                questions.request(read, model, settings, self._secret, occasion)
                for model in settings.members
            ]

        repeated = drawn(item, settings.repeat_share, "repeat")
        again = put(behaviors[::-1], f"{self._occasion} again") if repeated else []
        return _Asked(behaviors, read, put(behaviors, self._occasion), again)

    # the way up

    def _told(self, request: dict[str, Any]) -> _Told:
        """Follow a request and its repairs through the journal."""
        names = names_of(request)
        while True:
            key = request_key(request)
            if key not in self.journal:
                return _Told("failed", self.outcome.failures.get(key, "not asked"), None)
            answer = self.journal.get(key)
            if name := answer.get("reported_model"):
                self.served[f"{name} {answer.get('system_fingerprint') or ''}".strip()] += 1
            if answer["status"] in ("refused", "filtered"):
                return _Told(answer["status"], f"the judge's answer: {answer['status']}", None)
            try:
                return _Told("graded", None, self._read(answer, names))
            except UnusableError as wrong:
                following = self._repair(request, answer)
                if following is None:
                    return _Told("failed", f"the judge's answer is unusable: {wrong}", None)
                request = following

    def suspicious(self, item: Item) -> bool:
        """Whether the screen leaves an item to the judge: it flagged something, could not tell,
        or gave no usable answer."""
        assert self.panel.judge is not None
        screen = self.panel.judge.screen
        assert screen is not None
        if screen.rule is not None:
            return item.reply is not None and self._holds(screen.rule, item) is not False
        request = next(self.screen_requests([item]), None)
        if request is None:
            return False
        found = self._told(request).verdicts
        return found is None or any(v is None or v.flagged for v in found.values())

    def _holds(self, rule: Rule, item: Item) -> bool | None:
        """Whether a rule holds; None where that could not be told (in time)."""
        assert item.reply is not None
        by = holds if self.panel.engine == ENGINE else REGISTERED.holds
        try:
            return by(rule, item.prefix["messages"], item.reply)
        except NotTold:
            return None

    def begin_rows(self) -> None:
        """From here on the rows are those of the table: count what they show, and note down the
        answers that each is made from."""
        self.seen.clear()
        self.served.clear()
        self.journal.taken()

    def row(self, item: Item, skip: AbstractSet[str] = NO_SKIP) -> dict[str, Any]:
        """The item's row of the grades table. A reply that is missing or could not be graded has
        null, never false.

        The judge was not asked about the behaviors in `skip`: they are neither graded nor missing.
        """
        panel = self.panel
        applies = [b.name for b in panel.behaviors if b.applies_to.covers(item.prefix)]
        row: dict[str, Any] = {
            **{k: item.prefix[k] for k in ("prefix_id", "stratum", "weight", "user_key")},
            "model_version": self.model_version,
            "grading_id": self._grading_id,
            "status": item.status,
            "error": item.error,
            "evidence": [],
            **dict.fromkeys(panel.names),
            "missing": [name for name in applies if name not in skip],
            "skipped": [name for name in applies if name in skip],
            "cut": None,
            "judge_notes": None,
        }
        if item.reply is None:
            return row
        if (asked := self._asked(item, skip)) is not None:
            told = [self._told(request) for request in asked.first]
            if asked.read is not None:
                row["cut"] = asked.read.cut
            if all(one.verdicts is None for one in told):
                return row | {"status": told[0].status, "error": told[0].error}
            self._judge(row, item, asked, told)
        for behavior in panel.behaviors:
            if behavior.rule is not None and behavior.applies_to.covers(item.prefix):
                row[behavior.name] = self._holds(behavior.rule, item)
                if row[behavior.name]:
                    row["evidence"].append(_evidence(behavior.name, None))
        without = [name for name in row["missing"] if row[name] is None]
        if without and not any(row[name] is not None for name in panel.names):
            return row | {"status": "failed", "error": "no grader could tell"}
        return row | {"status": "graded", "missing": without}

    def _judge(self, row: dict[str, Any], item: Item, asked: _Asked, told: list[_Told]) -> None:
        """Put the judges' grades into a row, and what is worth knowing of them."""
        settings, reply = self.panel.judge, item.reply
        assert settings is not None
        assert reply is not None
        found = self._vote(asked.behaviors, told)
        if asked.read is not None:
            for behavior in asked.behaviors:
                clean = found[behavior.name].flagged is False
                if clean and asked.read.cut_share(behavior) > _MOST_CUT:
                    found[behavior.name] = Opinion(None, None)
        flags = [
            (name, opinion.verdict)
            for name, opinion in found.items()
            if opinion.flagged and opinion.verdict is not None
        ]
        row |= {name: opinion.flagged for name, opinion in found.items()}
        row["evidence"] = [_evidence(name, verdict) for name, verdict in flags]
        if asked.read is None:
            return
        unsupported: list[str] = []
        if flags:
            turn = turn_messages(reply)
            answers = [m for m in turn if m["role"] == "tool"]
            written = [m for m in turn if m["role"] != "tool"]
            texts = texts_of(written), texts_of([*item.prefix["messages"], *answers])
            unsupported = [name for name, verdict in flags if not supported(verdict, *texts)]
        row["judge_notes"] = {
            "cut_share": max((asked.read.cut_share(b) for b in asked.behaviors), default=0.0),
            "unsupported": unsupported,
            "steers": attack(_written(item)),
            "dissent": self._dissent(told, found),
            "repeated": self._repeated(asked, found),
        }
        self.seen.update(flags=len(flags), unsupported=len(unsupported))
        self.seen["cut"] += bool(asked.read.cut)
        self.seen["steers"] += row["judge_notes"]["steers"] is not None

    def _vote(self, behaviors: Iterable[Behavior], told: list[_Told]) -> dict[str, Opinion]:
        assert self.panel.judge is not None
        return {
            b.name: vote([(one.verdicts or {}).get(b.name) for one in told], self.panel.judge.rule)
            for b in behaviors
        }

    def _dissent(self, told: list[_Told], found: dict[str, Opinion]) -> list[dict[str, Any]]:
        """The members of a panel that voted otherwise than it, and on what."""
        assert self.panel.judge is not None
        dissent: list[dict[str, Any]] = []
        for member, one in zip(self.panel.judge.panel, told, strict=False):
            voted = {n: v.flagged for n, v in (one.verdicts or {}).items() if v is not None}
            other = [n for n, flagged in voted.items() if flagged is not found[n].flagged]
            self.seen[f"votes of {member}"] += len(voted)
            self.seen[f"dissent of {member}"] += len(other)
            if other:
                dissent.append({"member": member, "behaviors": other})
        return dissent

    def _repeated(self, asked: _Asked, found: dict[str, Opinion]) -> list[dict[str, Any]] | None:
        if not asked.again:
            return None
        second = self._vote(asked.behaviors, [self._told(request) for request in asked.again])
        both = [
            (name, first.flagged, second[name].flagged)
            for name, first in found.items()
            if first.flagged is not None and second[name].flagged is not None
        ]
        for name, first, other in both:
            self.seen[f"repeat {name} {int(first)}{int(bool(other))}"] += 1
        return [{"behavior": name, "flagged": other} for name, _, other in both]

    def facts(self) -> dict[str, Any]:
        """What the rows came to beside their states: flags without support, cut documents, signs of
        attacks, dissent by member, the table of each behavior graded twice, and which models
        answered."""
        names = [b.name for b in self.panel.behaviors]
        cells = ("11", "10", "01", "00")
        repeats = {n: [self.seen[f"repeat {n} {cell}"] for cell in cells] for n in names}
        members = self.panel.judge.panel if self.panel.judge else ()
        return {
            "flags": self.seen["flags"],
            "unsupported_flags": self.seen["unsupported"],
            "cut_documents": self.seen["cut"],
            "signs_of_attack": self.seen["steers"],
            "members": {
                m: {
                    "grader_id": grader_id,
                    "votes": self.seen[f"votes of {m}"],
                    "dissent": self.seen[f"dissent of {m}"],
                }
                for m, grader_id in self.panel.member_ids().items()
                if m in members
            },
            "repeats": {name: table for name, table in repeats.items() if any(table)},
            "served_by": dict(sorted(self.served.items())),
        }


def _written(item: Item) -> str:
    """All text of an item that others wrote."""
    parts: list[str] = []
    turns = turn_messages(item.reply) if item.reply else []
    for turn in (*item.prefix["messages"], *turns):
        parts += [turn["content"] or "", turn["reasoning"] or ""]
        parts += [call["arguments"] for call in turn["tool_calls"] or ()]
    return "\n".join(parts)


def _evidence(behavior: str, verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        fields = {"severity": None, "confidence": None, "rationale": "rule"}
    else:
        fields = {k: getattr(verdict, k) for k in ("severity", "confidence", "rationale")}
    return {"behavior": behavior} | fields
