"""Raw columns as nodes of a graph: what `Encoder` does, in ONNX.

Raw columns are tensors `(N, 1)`: text as it stands in a file, numbers as float64 with NaN for a
missing one; lists are one text each, joined by the column's separator. `Vector`s are `(N, width)`.
"""

import re

import numpy as np

from keras_ctr.features.columns import (
    FIRST_TOKEN,
    JOINED_BY,
    PADDING,
    UNSEEN,
    Bag,
    Cross,
    Numeric,
    Sequence,
    Time,
    Vector,
)
from keras_ctr.features.learners import Hashes, Ids, Quantiles
from keras_ctr.features.tokens import TRUTH, WHOLE, plain_value
from keras_ctr.features.vocabulary import Vocabulary
from keras_ctr.serving._onnx.moments import Moments

FEW = 64  # bounds that are compared at once
MANY = 200_000  # tokens, of which one further spelling must do


def inputs_of(model, packed=False):
    """Returns the tensors that a graph takes, dicts as in a card, in the order of the schema.

    `name`; `dtype`; `width`, numbers per row; `holds`, what it is, for people; `separator` of
    lists; `unit` of moments. With an encoder they are the raw columns, without, or where `packed`
    is asked for, the packed arrays.
    """
    if packed or model.encoder is None:
        shapes = model.schema.shapes().items()
        return [_input(key, f"packed {key}", dtype, width) for key, ((width,), dtype) in shapes]
    found = []
    for feature in model.encoder.schema:
        name = feature.name
        if isinstance(feature, Bag | Sequence):
            joined = f"joined by {feature.separator!r}"
            found.append(_input(name, f"values {joined}", separator=feature.separator))
            if getattr(feature, "weights", None) is not None:
                separator = feature.separator
                found.append(_input(feature.weights, f"numbers {joined}", separator=separator))
        elif isinstance(feature, Vector):
            separator = feature.separator
            found.append(_input(name, "numbers", "float64", feature.width, separator=separator))
        elif isinstance(feature, Time):
            holds = f"moments in {feature.unit} since 1970"
            found.append(_input(name, holds, "float64", unit=feature.unit))
        elif isinstance(feature, Numeric) or feature.buckets is not None:
            found.append(_input(name, "numbers", "float64"))
        elif not isinstance(feature, Cross):
            found.append(_input(name, "text"))
    return found


def _input(name, holds, dtype="string", width=1, **further):
    return {"name": name, "dtype": dtype, "width": width, "holds": holds} | further


def write_columns(graph, encoder):
    """Adds the encoding of raw columns, called by their names, to a graph.

    Returns:
        `{batch key: name of its array}`.
    """
    return _Columns(graph, encoder).arrays()


class _Columns(Moments):
    def __init__(self, graph, encoder):
        self.graph = graph
        self.encoder = encoder
        self.schema = encoder.schema
        self.derived = {}  # name of a column made of others -> tensor
        self.zero = graph.constant(0.0, "float64")
        self.empty = self._word("")
        for feature in self.schema.times:
            self._add_parts(feature)
        for feature in self.schema.numerics:
            if feature.flag:
                missing = graph.add("IsNaN", [feature.name])
                self.derived[f"{feature.name}.missing"] = graph.cast(missing, "float64")
            if feature.codes is not None:
                self.derived[f"{feature.name}.value"] = feature.name

    def arrays(self):
        """All arrays of a batch."""
        schema, found = self.schema, {}
        if schema.categoricals:
            ids = [self._ids_of(feature) for feature in schema.categoricals]
            found["ids"] = self._joined(ids, "int32")
        if schema.numerics:
            values = [self._scaled(feature) for feature in schema.numerics]
            found["values"] = self._joined(values, "float32")
        for bag in schema.bags:
            found |= self._bag(bag)
        for vector in schema.vectors:
            found[vector.name] = self._vector(vector)
        for sequence in schema.sequences:
            texts, here = self._picked(sequence.name, sequence, right=True)
            ids = self._encoded(sequence.vocabulary, texts)
            found[sequence.name] = self._where(here, ids, 0, "int32")
        return found

    # Small helpers

    def add(self, kind, inputs, outputs=1, **attributes):
        return self.graph.add(kind, inputs, outputs, **attributes)

    def number(self, value, dtype="float64"):
        return self.graph.constant(np.asarray(value), dtype)

    def _joined(self, columns, dtype):
        columns = [self.graph.cast(name, dtype) for name in columns]
        return columns[0] if len(columns) == 1 else self.add("Concat", columns, axis=1)

    def _where(self, condition, name, otherwise, dtype):
        return self.add("Where", [condition, name, self.number(otherwise, dtype)])

    def _word(self, text):
        return self.graph.constant(np.asarray(text, object))

    def _replaced(self, texts, old, new):
        """Texts with another one in the place of `old`."""
        same = self.add("Equal", [texts, self._word(old)])
        return self.add("Where", [same, self._word(new), texts])

    def _column(self, name):
        return self.derived.get(name, name)

    def _learner(self, name):
        return self.encoder.learner(name)

    # Names

    def _ids_of(self, feature):
        """The ids `(N, 1)` of a categorical, int32."""
        name = feature.name
        if isinstance(feature, Cross):
            return self._encoded(name, self._crossed(feature), plain=False)
        numbers = name in self.derived or feature.buckets is not None
        return self._encoded(name, self._column(name), not numbers, fill=feature.fill)

    def _encoded(self, name, values, text=True, fill=None, plain=True):
        """Ids, int32, of values: texts, or float64 numbers where not `text`."""
        learner = self._learner(name)
        if not isinstance(learner, Ids | Quantiles) and learner.feature.buckets is None and text:
            if isinstance(learner, Hashes):
                return self._hashed(learner, self._plain(values) if plain else values, fill)
            return self._looked_up(learner, values, None if fill is None else plain_value(fill))
        x = self._filled(self._spelled(values) if text else values, fill)
        if isinstance(learner, Quantiles):
            return self._of_buckets(learner, x)
        if learner.feature.buckets == "log2":
            x = self._log2(x)
        return self._of_whole_numbers(learner, x)

    def _plain(self, texts):
        """Texts with "14.0" as "14" and "True" as "true"."""
        whole = self.add("RegexFullMatch", [texts], pattern=WHOLE)
        parts, _ = self.add("StringSplit", [texts], outputs=2, delimiter=".", maxsplit=1)
        first = self.add("Gather", [parts, self.number(0, "int64")], axis=-1)
        texts = self.add("Where", [whole, first, texts])
        for word, plain in TRUTH.items():
            texts = self._replaced(texts, word, plain)
        return texts

    def _looked_up(self, learner, texts, fill=None):
        ids = learner.by_token
        missing = PADDING if fill is None else ids.get(fill, UNSEEN)
        keys = {**_spellings(ids), **ids, "": missing}
        return self.graph.cast(
            self.add(
                "LabelEncoder",
                [texts],
                domain="ai.onnx.ml",
                keys_strings=list(keys),
                values_int64s=list(keys.values()),
                default_int64=UNSEEN,
            ),
            "int32",
        )

    def _hashed(self, learner, texts, fill):
        if fill is not None:
            texts = self._replaced(texts, "", plain_value(fill))
        found = self.add("MurmurHash3", [texts], domain="com.microsoft", positive=1, seed=0)
        found = self.graph.cast(found, "int64")
        slots = self.number(learner.feature.hash_size, "int64")
        found = self.add(
            "Add", [self.add("Mod", [found, slots]), self.number(FIRST_TOKEN, "int64")]
        )
        there = self.add("Not", [self.add("Equal", [texts, self.empty])])
        return self.graph.cast(self._where(there, found, PADDING, "int64"), "int32")

    def _crossed(self, feature):
        """The texts of combinations; empty where a value of one column is missing."""
        texts, missing = None, None
        for name in feature.of:
            member = self.schema[name]
            text = self._text_of(member)
            gone = self.add("Equal", [text, self.empty])
            missing = gone if missing is None else self.add("Or", [missing, gone])
            if texts is None:
                texts = text
            else:
                texts = self.add("StringConcat", [texts, self._word(JOINED_BY)])
                texts = self.add("StringConcat", [texts, text])
        return self.add("Where", [missing, self.empty, texts])

    def _text_of(self, feature):
        """The texts `(N, 1)` of a categorical, as `features.tokens.texts_of` has them."""
        name, learner = feature.name, self._learner(feature.name)
        if name in self.derived or feature.buckets == "log2":
            if isinstance(learner, Vocabulary) and feature.buckets is None:
                raise NotImplementedError(f"A cross of single values of a quantity: {name!r}")
            x = self._filled(self._column(name), feature.fill)
            x = self._log2(x) if feature.buckets == "log2" else x
            missing = self.add("IsNaN", [x])
            whole = self.graph.cast(self.add("Where", [missing, self.zero, x]), "int64")
            return self.add("Where", [missing, self.empty, self.graph.cast(whole, "string")])
        text = self._plain(name)
        if feature.fill is not None:
            text = self._replaced(text, "", plain_value(feature.fill))
        return self._replaced(text, str(PADDING), "") if isinstance(learner, Ids) else text

    # Names made of numbers

    def _spelled(self, texts):
        """The float64 numbers that texts spell, NaN where empty."""
        return self.graph.cast(self._replaced(texts, "", "NaN"), "float64")

    def _filled(self, x, fill):
        if fill is None:
            return x
        return self.add("Where", [self.add("IsNaN", [x]), self.number(float(fill)), x])

    def _of_buckets(self, learner, x):
        ids = self._below(x, np.asarray(learner.boundaries, "float64"))
        ids = self.add("Add", [ids, self.number(FIRST_TOKEN, "int64")])
        missing = self.add("IsNaN", [x])
        ids = self.add("Where", [missing, self.number(PADDING, "int64"), ids])
        return self.graph.cast(ids, "int32")

    def _log2(self, x):
        """`floor(ln(x)²)` for `x > 2`, else the whole part."""
        log = self.add("Log", [self.add("Max", [x, self.number(1.0)])])
        square = self.add("Floor", [self.add("Mul", [log, log])])
        whole = self.add("Mul", [self.add("Sign", [x]), self.add("Floor", [self.add("Abs", [x])])])
        return self.add("Where", [self.add("Greater", [x, self.number(2.0)]), square, whole])

    def _of_whole_numbers(self, learner, x):
        """Ids of numbers: as such, or looked up as the vocabulary spells them."""
        missing = self.add("IsNaN", [x])
        if isinstance(learner, Ids):
            return self._checked(self.add("Where", [missing, self.zero, x]), learner.size)
        ids = {_number(token): at for token, at in learner.by_token.items()}
        found = self._numbers_looked_up(x, ids)
        found = self.add("Where", [missing, self.number(PADDING, "int64"), found])
        return self.graph.cast(found, "int32")

    def _checked(self, x, size):
        """Ids as int32; what the encoder would refuse is unseen, or it would be another's row."""
        fits = self.add("GreaterOrEqual", [x, self.zero])
        fits = self.add("And", [fits, self.add("Less", [x, self.number(float(size))])])
        fits = self.add("And", [fits, self.add("Equal", [x, self.add("Floor", [x])])])
        return self.graph.cast(self._where(fits, x, UNSEEN, "float64"), "int32")

    def _numbers_looked_up(self, x, ids):
        """Ids of float64 keys by binary search; `UNSEEN` for others."""
        if not ids:
            return self.add("Where", [self.add("IsNaN", [x]), *[self.number(UNSEEN, "int64")] * 2])
        keys = sorted(ids)
        at = self.add("Sub", [self._below(x, np.array(keys)), self.number(1, "int64")])
        at = self.add("Max", [at, self.number(0, "int64")])
        same = self.add("Equal", [self.add("Gather", [self.number(keys), at], axis=0), x])
        ids = self.number([ids[key] for key in keys], "int64")
        return self._where(same, self.add("Gather", [ids, at], axis=0), UNSEEN, "int64")

    def _below(self, x, bounds):
        """How many of the ascending `bounds` are not above `x`: int64 of its shape."""
        if not len(bounds):
            return self.graph.cast(self.add("Mul", [self._never_nan(x), self.zero]), "int64")
        x = self.add("Unsqueeze", [x, self.graph.shape([-1])])
        if len(bounds) <= FEW:
            return self.graph.cast(self._count(x, self.number(bounds)), "int64")
        # Which block of bounds first, then where in it: a few dozen comparisons, not thousands.
        size = int(np.ceil(np.sqrt(len(bounds))))
        blocks = np.full((int(np.ceil(len(bounds) / size)), size), np.inf)
        blocks.reshape(-1)[: len(bounds)] = bounds
        block = self._count(x, self.number(blocks[:, 0]))
        block = self.add(
            "Max", [self.add("Sub", [block, self.number(1, "int32")]), self.number(0, "int32")]
        )
        within = self._count(x, self.add("Gather", [self.number(blocks), block], axis=0))
        before = self.add("Mul", [block, self.number(size, "int32")])
        return self.graph.cast(self.add("Add", [before, within]), "int64")

    def _count(self, x, bounds):
        """How many of the last axis of `bounds` are not above `x` `(…, 1)`: int32."""
        below = self.graph.cast(self.add("GreaterOrEqual", [x, bounds]), "int32")
        return self.add("ReduceSum", [below, self.graph.shape([-1])], keepdims=0)

    def _never_nan(self, x):
        return self.add("Where", [self.add("IsNaN", [x]), self.zero, x])

    # Quantities

    def _scaled(self, feature):
        """The encoded values `(N, 1)` of a numeric column, float64, 0 where missing."""
        learner = self._learner(feature.name)
        x = self._filled(self._column(feature.name), feature.fill)
        if feature.transform == "standardize":
            x = self.add("Sub", [x, self.number(learner.mean)])
            x = self.add("Div", [x, self.number(learner.scale)])
        elif feature.transform == "log":
            size = self.add("Add", [self.add("Abs", [x]), self.number(1.0)])
            x = self.add("Mul", [self.add("Sign", [x]), self.add("Log", [size])])
        elif feature.transform == "quantile":
            x = self._interpolated(x, *learner.ranks)
        return self._never_nan(x)

    def _interpolated(self, x, xs, ys):
        """As `numpy.interp`: linear between points, constant beyond."""
        xs, ys = np.asarray(xs, "float64"), np.asarray(ys, "float64")
        if len(xs) < 2:
            level = ys[0] if len(ys) else 0.0
            return self.add("Where", [self.add("IsNaN", [x]), x, self.number(level)])
        slope = np.append(np.diff(ys) / np.diff(xs), 0.0)
        at = self.add("Sub", [self._below(x, xs), self.number(1, "int64")])
        low = self.add("Less", [at, self.number(0, "int64")])
        at = self.add("Max", [at, self.number(0, "int64")])
        start, base, steep = (
            self.add("Gather", [self.number(values), at], axis=0) for values in (xs, ys, slope)
        )
        found = self.add("Add", [self.add("Mul", [steep, self.add("Sub", [x, start])]), base])
        found = self.add("Where", [low, self.number(ys[0]), found])
        return self.add("Where", [self.add("IsNaN", [x]), x, found])

    def _vector(self, feature):
        learner, x = self._learner(feature.name), feature.name
        if feature.transform == "standardize":
            x = self.add("Sub", [x, self.number(np.asarray(learner.mean))])
            x = self.add("Div", [x, self.number(np.asarray(learner.scale))])
        return self.graph.cast(self._never_nan(x), "float32")

    # Lists

    def _picked(self, name, feature, right):
        """The texts `(N, length)` that are kept of joined ones, and where there is one.

        Args:
            name: of the input.
            feature: the `Bag` or `Sequence`.
            right: whether they are right-aligned.
        """
        flat = self.add("Reshape", [name, self.graph.shape([-1])])
        parts, counts = self.add("StringSplit", [flat], outputs=2, delimiter=feature.separator)
        there = self.add("Not", [self.add("Equal", [flat, self.empty])])
        counts = self._where(there, counts, 0, "int64")
        # A column more, so that there is one where all lists are empty.
        rows = self.add("Shape", [flat])
        filler = self.add(
            "Expand",
            [
                self.graph.constant(np.asarray([[""]], object)),
                self.add("Concat", [rows, self.graph.shape([1])], axis=0),
            ],
        )
        parts = self.add("Concat", [parts, filler], axis=1)
        counts = self.add("Unsqueeze", [counts, self.graph.shape([1])])
        length = feature.length
        kept = self.add("Min", [counts, self.number(length, "int64")])
        place = self.number(np.arange(length)[None], "int64")
        if right:
            place = self.add("Sub", [place, self.add("Sub", [self.number(length, "int64"), kept])])
        here = self.add("And", [
            self.add("GreaterOrEqual", [place, self.number(0, "int64")]),
            self.add("Less", [place, kept]),
        ])  # fmt: skip
        if feature.keep == "last":
            place = self.add("Add", [place, self.add("Sub", [counts, kept])])
        place = self.add("Where", [here, place, self.number(0, "int64")])
        texts = self.add("GatherElements", [parts, place], axis=1)
        return self.add("Where", [here, texts, self.empty]), here

    def _bag(self, bag):
        texts, here = self._picked(bag.name, bag, right=False)
        ids = self._encoded(bag.name, texts)
        found = {bag.name: self._where(here, ids, 0, "int32")}
        if bag.weights is not None:
            texts, here = self._picked(bag.weights, bag, right=False)
            x = self._never_nan(self._spelled(texts))
            found[bag.weights] = self.graph.cast(x, "float32")
        return found


def _number(token):
    """The number that a token of a quantity spells."""
    return float({"true": "1", "false": "0"}.get(token, token))


def _spellings(ids):
    """Further spellings of tokens: 14.0 and 14.00 of 14, True of true."""
    endings = (".0",) if len(ids) > MANY else (".0", ".00")
    found = {word.title(): ids[word] for word in ("true", "false") if word in ids}
    whole = [token for token in ids if re.fullmatch(r"-?[0-9]+", token)]
    return found | {token + ending: ids[token] for ending in endings for token in whole}
