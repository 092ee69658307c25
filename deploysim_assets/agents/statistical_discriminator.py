"""Real or simulated, told by statistics of the turn: logistic regression over what can be counted,
for those who have no judge, and beside one."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from deploysim_assets.agents.agreement import answered
from deploysim_assets.agents.extras import extra

_FOLDS, _LEAST = 5, 10
_ERROR = re.compile(
    r"\berror\b|\bexception\b|\btraceback\b|\bnot found\b|\binvalid\b|\bfailed\b|\bno such\b",
    re.IGNORECASE,
)
_LOOKED_AT = 2_000
_LONGEST_NAME = 100


def features(turn: Mapping[str, Any]) -> dict[str, float]:
    """What can be counted in a turn (schema.REPLY): calls, steps, lengths, errors and the n-grams
    of tool names, by name.

    Left out is what tells the two apart without being about either: ids of calls, why the model
    stopped, where a result came from, and reasoning, which logs keep or not.
    """
    steps: Sequence[Mapping[str, Any]] = turn.get("steps") or ()
    pairs = answered(turn)
    asked = [call for step in (*steps, turn) for call in step.get("tool_calls") or ()]
    found: defaultdict[str, float] = defaultdict(float)
    found["calls"] = math.log1p(len(asked))
    found["unanswered"] = len(asked) - len(pairs)
    found["model_messages"] = math.log1p(sum(s["role"] == "assistant" for s in steps) + 1)
    found["words_between"] = math.log1p(
        sum(len(s["content"] or "") for s in steps if s["role"] == "assistant")
    )
    found["reply_length"] = math.log1p(len(turn.get("content") or ""))
    arguments = sum(len(call["arguments"] or "") for call in asked)
    found["arguments_length"] = math.log1p(arguments / max(len(asked), 1))
    lengths = [math.log1p(len(one.content)) for one in pairs]
    if lengths:
        found["result_length"] = sum(lengths) / len(lengths)
        found["longest_result"] = max(lengths)
    for one, length in zip(pairs, lengths, strict=True):
        tool = one.tool[:_LONGEST_NAME]
        share = 1 / sum(other.tool == one.tool for other in pairs)
        found[f"length of {tool}"] += share * length
        found[f"error of {tool}"] += share * (_ERROR.search(one.content[:_LOOKED_AT]) is not None)
        found[f"lines of {tool}"] += share * math.log1p(one.content.count("\n"))
        found["errors"] += _ERROR.search(one.content[:_LOOKED_AT]) is not None
        found["empty_results"] += not one.content.strip()
        found["json_results"] += _is_json(one.content) / len(pairs)
    for name, count in _repeats([one.content for one in pairs]).items():
        found[name] = count
    names = ["<", *(call["name"][:_LONGEST_NAME] for call in asked), ">"]
    for size in (1, 2, 3):
        for start in range(len(names) - size + 1):
            found[f"names {' '.join(names[start : start + size])}"] += 1
    return dict(found)


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _repeats(contents: Sequence[str]) -> dict[str, float]:
    """Results that say the same word for word: a model that writes them likes to repeat itself."""
    return {"repeated_results": float(len(contents) - len(set(contents)))}


class Told(NamedTuple):
    """How well the two are told apart: area under the curve (0.5: not at all, 1: always) with its
    95% interval, over `turns` of `conversations`; None where there are too few."""

    auc: float | None
    low: float | None
    high: float | None
    turns: int
    conversations: int


class Turn(NamedTuple):
    """A turn to be told: of which conversation, and whether it is a simulated one."""

    conversation: str
    simulated: bool
    features: Mapping[str, float]


def told_apart(turns: Sequence[Turn], seed: int) -> Told:
    """The cross-validated AUC: every turn is scored by a model that saw no turn of its
    conversation.

    Needs ten conversations with both kinds of turn in all. The interval is that of a clustered
    AUC (Obuchowski, Biometrics 53, 1997), whose clusters are conversations.
    """
    groups = [turn.conversation for turn in turns]
    kinds = {turn.simulated for turn in turns}
    conversations = len(set(groups))
    nothing = Told(None, None, None, len(turns), conversations)
    if conversations < _LEAST or len(kinds) < 2:
        return nothing

    scores = _scored(turns, groups, seed)
    if scores is None:
        return nothing
    auc, error = clustered_auc(scores, [turn.simulated for turn in turns], groups)
    spread = 1.959964 * error
    return Told(auc, max(0.0, auc - spread), min(1.0, auc + spread), len(turns), conversations)


def _scored(turns: Sequence[Turn], groups: Sequence[str], seed: int) -> list[float] | None:
    """How simulated each turn looks to a model of the other folds; None where a fold would leave
    a model only one kind to learn from."""
    import numpy as np

    def part(name: str) -> Any:
        return extra(f"sklearn.{name}", "the statistical discriminator of simulation_fidelity")

    truth = np.array([turn.simulated for turn in turns])
    chosen = part("model_selection")
    folds = chosen.GroupKFold(_FOLDS, shuffle=True, random_state=seed)
    split = list(folds.split(turns, groups=groups))
    if any(len(set(truth[train].tolist())) < 2 for train, _ in split):
        return None
    model = part("pipeline").make_pipeline(
        part("feature_extraction").DictVectorizer(),
        part("preprocessing").StandardScaler(with_mean=False),
        part("linear_model").LogisticRegression(C=0.1, max_iter=2_000),
    )
    found = chosen.cross_val_predict(
        model, [turn.features for turn in turns], truth, cv=split, method="decision_function"
    )
    return found.tolist()


def clustered_auc(
    scores: Sequence[float], positive: Sequence[bool], clusters: Sequence[str]
) -> tuple[float, float]:
    """The area under the curve and its standard error, where scores of one cluster are not
    independent. Needs a positive and a negative one, and two clusters."""
    import numpy as np
    from scipy.stats import rankdata

    x, y = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    n1, n0 = int(y.sum()), int((~y).sum())
    ranks, own = rankdata(x), np.empty(len(x))
    own[y], own[~y] = rankdata(x[y]), rankdata(x[~y])
    # how many of the other kind each lies above (a positive) or below (a negative), ties by half
    placed = np.where(y, (ranks - own) / n0, 1 - (ranks - own) / n1)
    auc = float(placed[y].mean())
    parts: dict[str, float] = {}
    for cluster, is_positive, value in zip(clusters, y.tolist(), placed.tolist(), strict=True):
        size = n1 if is_positive else n0
        parts[cluster] = parts.get(cluster, 0.0) + (value - auc) / size
    count = len(parts)
    variance = count / (count - 1) * sum(part**2 for part in parts.values())
    return auc, math.sqrt(variance)
