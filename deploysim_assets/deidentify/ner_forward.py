"""The forward pass of spaCy's convolutional NER models in numpy, with the model's own weights and
tokenizer: the same entities several times as fast, for spaCy moves every token alone through its
state machine."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Found = list[tuple[int, int, str]]
_BLOCK = 2_048
"""Rows of a pass: what is made of them on the way fits the processor's cache."""
_COLUMNS = ("IDX", "LENGTH", "IS_SPACE")
_MIX = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93],
    dtype=np.uint64,
)


_PROBE = (
    "Dr. Anna Lindqvist of the Lindenhof Foundation flew from Berlin to New York on 3 May 2021, "
    "paid $ 1,200  and met Marco Bianchi.\n\nyesterday peter brandt (47) called THE BANK OF ENGLAND"
)
"""Read both ways when a model is loaded."""


class UnknownModel(Exception):
    """The model is built otherwise: spaCy has to run it."""


class _Maxout(NamedTuple):
    """Maxout and layer normalization: `pieces` blocks of columns of `w` (nI, pieces * nO)."""

    w: Floats
    b: Floats
    pieces: int
    gain: Floats
    shift: Floats
    ops: Any
    """thinc's: its products stay in one thread, which numpy's do not."""

    def __call__(self, x: Floats) -> Floats:
        y = self.ops.gemm(x, self.w)
        y += self.b
        width = y.shape[1] // self.pieces
        best = y[:, :width]
        for i in range(1, self.pieces):
            np.maximum(best, y[:, i * width : (i + 1) * width], out=best)
        best -= best.mean(axis=1, keepdims=True)
        scale = np.einsum("ij,ij->i", best, best) / np.float32(width) + np.float32(1e-8)
        best *= (1 / np.sqrt(scale))[:, None]
        best *= self.gain
        best += self.shift
        return best


class _Table(NamedTuple):
    """A hash embedding: rows of `e` that the four hashes of a value name are added up."""

    e: Floats
    seed: int
    ops: Any

    def __call__(self, values: NDArray[np.uint64]) -> Floats:
        rows = self.ops.hash(np.ascontiguousarray(values), self.seed) % len(self.e)
        return self.ops.gather_add(self.e, rows)


class _Moves(NamedTuple):
    """Classes of the state machine's moves: B, U and O for tokens outside an entity; I and L of
    each label."""

    outside: NDArray[np.intp]
    """Classes that can be chosen outside an entity, O, U-x and B-x, as the model numbers them."""
    kind: NDArray[np.int8]
    """Of each of them 0 for O, 1 for U, 2 for B."""
    label: list[str]
    inside: dict[str, tuple[int, int]]


def _layers(model: Any, name: str) -> list[Any]:
    return [layer for layer in model.walk(order="dfs_pre") if layer.name == name]


def _maxout(layer: Any, norm: Any) -> _Maxout:
    w, b = layer.get_param("W"), layer.get_param("b")
    out, pieces, width = w.shape
    return _Maxout(
        np.ascontiguousarray(w.transpose(1, 0, 2).reshape(pieces * out, width).T),
        np.ascontiguousarray(b.T.reshape(-1)),
        pieces,
        norm.get_param("G"),
        norm.get_param("b"),
        layer.ops,
    )


class NerForward:
    """Entities of texts, as `nlp.pipe` with tokenizer and NER alone finds them."""

    def __init__(self, nlp: Any) -> None:
        """UnknownModel where the NER has another architecture or a setting that this does not
        know."""
        ner = nlp.get_pipe("ner")
        model = getattr(ner, "model", None)
        config = nlp.config["components"]["ner"].get("model")
        if model is None or config is None:
            raise UnknownModel
        encode, embed = (config.get("tok2vec", {}).get(p, {}) for p in ("encode", "embed"))
        lower = model.get_ref("lower")
        if (
            not config["@architectures"].startswith("spacy.TransitionBasedParser.")
            or not encode.get("@architectures", "").startswith("spacy.MaxoutWindowEncoder.")
            or not embed.get("@architectures", "").startswith("spacy.MultiHashEmbed.")
            or embed.get("include_static_vectors")
            or encode.get("window_size") != 1
            or ner.cfg["beam_width"] != 1
            or not model.attrs["has_upper"]
            or model.attrs["unseen_classes"]
            or lower.get_dim("nF") != 3
            or lower.get_dim("nP") < 2
            or nlp.pipe_names != ["ner"]
        ):
            raise UnknownModel
        tok2vec = model.get_ref("tok2vec")
        self._tokenize = nlp.tokenizer
        self._product = tok2vec.ops.gemm
        self._columns = [*_layers(tok2vec, "extract_features")[0].attrs["columns"], *_COLUMNS]
        self._tables = [
            _Table(t.get_param("E"), t.attrs["seed"], t.ops) for t in _layers(tok2vec, "hashembed")
        ]
        self._mix, *self._convolutions = [
            _maxout(m, n)
            for m, n in zip(_layers(tok2vec, "maxout"), _layers(tok2vec, "layernorm"), strict=True)
        ]
        linear = _layers(tok2vec, "linear")[-1]
        self._narrow = (np.ascontiguousarray(linear.get_param("W").T), linear.get_param("b"))
        self._width = self._mix.gain.shape[0]
        features, hidden, pieces, width = lower.get_param("W").shape
        self._pieces = pieces
        # pieces as blocks of columns, as in _Maxout
        self._lower: list[Floats] = [
            np.ascontiguousarray(w.transpose(1, 0, 2).reshape(pieces * hidden, width).T)
            for w in lower.get_param("W")
        ]
        pad: Floats = lower.get_param("pad")[0].transpose(0, 2, 1).reshape(features, -1)
        self._bias: Floats = np.ascontiguousarray(lower.get_param("b").T.reshape(-1))
        self._outside_bias: Floats = pad[1] + pad[2] + self._bias
        upper = model.get_ref("upper")
        self._w: Floats = upper.get_param("W")
        self._b: Floats = upper.get_param("b")
        self._moves = _moves([ner.moves.get_class_name(i) for i in range(ner.moves.n_moves)])
        self._w_outside = np.ascontiguousarray(self._w[self._moves.outside].T)
        self._b_outside = self._b[self._moves.outside]
        known = [(e.start_char, e.end_char, e.label_) for e in nlp(_PROBE).ents]
        if list(self([_PROBE])) != [known]:
            raise UnknownModel  # another spaCy computes it another way

    def __call__(self, texts: Sequence[str]) -> Iterator[Found]:
        """The entities of each text as (start, end, label), in order."""
        docs: list[NDArray[np.uint64]] = []
        rows = 0
        for text in texts:
            docs.append(self._tokenize(text).to_array(self._columns))
            rows += len(docs[-1])
            if rows >= _BLOCK:
                yield from self._entities(docs)
                docs, rows = [], 0
        if docs:
            yield from self._entities(docs)

    def _entities(self, docs: list[NDArray[np.uint64]]) -> Iterator[Found]:
        if not sum(map(len, docs)):
            yield from ([] for _ in docs)
            return
        vectors = self._vectors(docs)
        outside = _maxed(self._product(vectors, self._lower[0]) + self._outside_bias, self._pieces)
        scores = self._product(outside, self._w_outside)
        scores += self._b_outside
        at = 0
        for tokens in docs:
            end = at + len(tokens)
            yield self._walked(tokens, vectors[at:end], scores[at:end])
            at = end

    def _vectors(self, docs: list[NDArray[np.uint64]]) -> Floats:
        """(tokens, hidden width): embedded, convolved and narrowed."""
        pad = len(self._convolutions)
        whole = np.concatenate([d[:, : len(self._tables)] for d in docs])
        keys = (whole * _MIX[: whole.shape[1]]).sum(axis=1, dtype=np.uint64)
        _, first, back = np.unique(keys, return_index=True, return_inverse=True)
        once = whole[first]
        embedded = self._mix(
            np.concatenate([t(once[:, i]) for i, t in enumerate(self._tables)], axis=1)
        )
        # rows of zeros between the texts, as many as the windows reach
        lengths = np.array([len(d) for d in docs])
        places = np.arange(lengths.sum()) + np.repeat(pad * np.arange(1, len(docs) + 1), lengths)
        x = np.zeros((lengths.sum() + pad * (len(docs) + 1) + 2, self._width), np.float32)
        x[places + 1] = embedded[back]
        inner = x[1:-1]
        for layer in self._convolutions:
            windows = np.concatenate([x[:-2], inner, x[2:]], axis=1)
            inner += layer(windows)
        w, b = self._narrow
        return self._product(inner[places], w) + b

    def _walked(self, tokens: NDArray[np.uint64], vectors: Floats, scores: Floats) -> Found:
        """What the state machine does, only at the tokens where it does more than pass on."""
        n = len(tokens)
        if not n:
            return []
        moves, space = self._moves, tokens[:, -1] != 0
        scores[space] = np.where(moves.kind == 0, scores[space], -np.inf)
        scores[-1] = np.where(moves.kind == 2, -np.inf, scores[-1])
        chosen = scores.argmax(axis=1)
        found: Found = []
        past = 0
        for start in np.flatnonzero(moves.kind[chosen]).tolist():
            if start < past:
                continue
            move = chosen[start]
            last = start
            if moves.kind[move] == 2:
                last = self._last(vectors, start, moves.inside[moves.label[move]])
            begin, (end, length) = int(tokens[start, -3]), tokens[last, -3:-1]
            found.append((begin, int(end) + int(length), moves.label[move]))
            past = last + 1
        return found

    def _last(self, vectors: Floats, start: int, inside: tuple[int, int]) -> int:
        """The last token of an entity that begins at one."""
        n, at, ahead = len(vectors), start + 1, 4
        first = vectors[start] @ self._lower[1] + self._bias
        w, b = self._w[list(inside)].T, self._b[list(inside)]
        while at < n - 1:
            to = min(at + ahead, n - 1)
            hidden = vectors[at:to] @ self._lower[0] + first
            hidden += vectors[at - 1 : to - 1] @ self._lower[2]
            go_on, end = (_maxed(hidden, self._pieces) @ w + b).T
            stops = np.flatnonzero(_ends(go_on, end, inside))
            if len(stops):
                return at + int(stops[0])
            at, ahead = to, 2 * ahead
        return n - 1


def _ends(go_on: Floats, end: Floats, inside: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the entity ends; of equal scores the move with the lower number is taken."""
    return end > go_on if inside[0] < inside[1] else end >= go_on


def _maxed(x: Floats, pieces: int) -> Floats:
    width = x.shape[1] // pieces
    best = x[:, :width]
    for i in range(1, pieces):
        best = np.maximum(best, x[:, i * width : (i + 1) * width])
    return best


def _moves(names: list[str]) -> _Moves:
    kinds = {"O": 0, "U": 1, "B": 2}
    inside: dict[str, dict[str, int]] = {}
    outside: list[tuple[int, int, str]] = []
    for number, name in enumerate(names):
        move, _, label = name.partition("-")
        if move in kinds and (label or move == "O"):
            outside.append((number, kinds[move], label))
        elif move in ("I", "L"):
            inside.setdefault(label, {})[move] = number
    return _Moves(
        np.array([number for number, _, _ in outside]),
        np.array([kind for _, kind, _ in outside], np.int8),
        [label for _, _, label in outside],
        {label: (of["I"], of["L"]) for label, of in inside.items()},
    )
