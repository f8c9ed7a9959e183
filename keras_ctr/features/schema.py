"""`Schema`: the columns of a data set in their order. No Keras.

A schema is written by hand, inferred from a data frame (`Schema.infer`), or comes with a data set;
it travels with the data and inside every saved model.
"""

import dataclasses
import json

from keras_ctr._checks import unknown
from keras_ctr.features.columns import (
    KINDS,
    RESERVED,
    Bag,
    Categorical,
    Cross,
    Numeric,
    Sequence,
    Time,
    Vector,
)


class Schema:
    """The columns of a data set, in the order in which batches hold them.

    A batch of `B` rows is a dict of packed arrays: `"ids"` `(B, F)` int32 with one column per
    `Categorical`, `"values"` `(B, N)` float32 with one per `Numeric`, and under their names, for
    every `Bag` and `Sequence` its own `(B, S)` int32, for every `Vector` its `(B, width)` float32,
    and for the weights of a `Bag` their `(B, S)` float32. Keys without columns are left out. The
    parts of a `Time` are columns of `"ids"` and `"values"`, at its place among the features.

    Args:
        features: list of `Categorical`, `Cross`, `Numeric`, `Time`, `Bag`, `Vector`, `Sequence`.
        label: name of the label column (0 or 1).
        group: optional name of the column whose values group rows for `GAUC` (often the user).
        weight: optional name of the column of sample weights; it is no feature.

    Example:

    >>> schema = Schema([Categorical("user", 100), Categorical("item", 50), Numeric("price"),
    ...                  Sequence("history", of="item", length=20)], label="click", group="user")
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    def __init__(self, features, label="label", group=None, weight=None):
        self.features = tuple(features)
        self.label = label
        self.group = group
        self.weight = weight
        self.guesses = {}  # of a schema that was inferred, see `describe`
        self._expanded = [  # each feature, and what is made of it
            each for f in self.features for each in (f, *getattr(f, "derived", ()))
        ]
        for feature in self.features:
            if type(feature) not in KINDS.values():
                raise ValueError(
                    f"`features` must hold objects of {', '.join(KINDS)}. Received: {feature!r}"
                )
        if not self.features:
            raise ValueError("`features` must not be empty.")
        names = [feature.name for feature in self._expanded]
        names += [bag.weights for bag in self.bags if bag.weights is not None]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Feature names must be unique. Received twice: {', '.join(twice)}")
        if label in names:
            raise ValueError(f"The label {label!r} must not be a feature as well.")
        if weight is not None and weight in (*names, label, group):
            raise ValueError(
                f"The weight {weight!r} must not be a feature, the label or the group as well."
            )
        for feature in (*self.sequences, *self.bags, *self.vectors):
            if feature.name in RESERVED or getattr(feature, "weights", None) in RESERVED:
                kind = type(feature).__name__.lower()
                raise ValueError(f"A {kind} must not be called {' or '.join(map(repr, RESERVED))}.")
        self._check_vocabularies(names)
        self._check_crosses()

    def _check_crosses(self):
        """Every cross is of categoricals that have a text."""
        for cross in self.crosses:
            for name in cross.of:
                of = next((f for f in self.categoricals if f.name == name), None)
                if of is None or isinstance(of, Cross) or isinstance(of.buckets, int):
                    raise ValueError(
                        f"Cross {cross.name!r} must be `of` Categoricals of the schema, not those "
                        f"cut into a number of `buckets`. Received: {of or name!r}"
                    )

    def _check_vocabularies(self, names):
        """Every sequence is `of` a column of the schema, or of a vocabulary that is its own."""
        known = {f.name: f for f in self.categoricals if not isinstance(f, Cross)}
        for sequence in self.sequences:
            of = sequence.of
            if isinstance(of, Categorical):
                if of.name in names or known.setdefault(of.name, of) != of:
                    raise ValueError(
                        f"Sequence {sequence.name!r} has a vocabulary of its own, whose name must "
                        f"be that of no column, and mean one thing. Received: of={of!r}"
                    )
            elif not isinstance(of, str) or of not in known:
                raise ValueError(
                    f"Sequence {sequence.name!r} must be `of` a Categorical of the schema. "
                    f"Received: of={of!r}"
                )

    def _all(self, kind):
        """Features of a kind in their order, each `Time` and `Numeric` with what is made of it."""
        return [feature for feature in self._expanded if isinstance(feature, kind)]

    @property
    def categoricals(self):
        """`Categorical` features and parts of times, in the order of columns of `batch["ids"]`."""
        return self._all(Categorical)

    @property
    def crosses(self):
        """The `Cross` features, which are among the categoricals."""
        return self._all(Cross)

    @property
    def numerics(self):
        """`Numeric` features and what is made of them and of times, as in `batch["values"]`."""
        return self._all(Numeric)

    @property
    def times(self):
        """The `Time` features."""
        return self._all(Time)

    @property
    def bags(self):
        """The `Bag` features."""
        return self._all(Bag)

    @property
    def vectors(self):
        """The `Vector` features."""
        return self._all(Vector)

    @property
    def sequences(self):
        """The `Sequence` features."""
        return self._all(Sequence)

    @property
    def histories(self):
        """What models of sequences see as a list of tokens: bags with `tokens`, then sequences."""
        return [bag for bag in self.bags if bag.tokens] + self.sequences

    @property
    def vocabularies(self):
        """`{name: Categorical}` of all that have rows in a table of embeddings, in that order.

        Categoricals first, then what sequences are `of` that no column is, then bags.
        """
        found = {feature.name: feature for feature in self.categoricals}
        own = [s.of for s in self.sequences if isinstance(s.of, Categorical)]
        return found | {f.name: f for f in own} | {bag.name: bag.vocabulary for bag in self.bags}

    @property
    def columns(self):
        """Names of all raw columns: features, a group that is none of them, weight, label."""
        names = [f.name for f in self.features if not isinstance(f, Cross)]
        names += [bag.weights for bag in self.bags if bag.weights is not None]
        if self.group is not None and self.group not in names:
            names.append(self.group)
        if self.weight is not None:
            names.append(self.weight)
        return names + [self.label]

    @property
    def optional(self):
        """Names of raw columns that need not be there to predict: those that are no feature."""
        names = [feature.name for feature in self.features]
        further = (self.group, self.weight, self.label)
        return [name for name in further if name is not None and name not in names]

    @property
    def sized(self):
        """Whether all sizes, lengths and widths are known, as models need."""
        return not self.unsized

    @property
    def unsized(self):
        """Names of what is not sized yet: an encoder has to be fitted."""
        names = [name for name, feature in self.vocabularies.items() if feature.size is None]
        names += [bag.name for bag in self.bags if bag.length is None]
        return names + [vector.name for vector in self.vectors if vector.width is None]

    def shapes(self):
        """Returns `{batch key: (shape of one row, dtype)}`."""
        shapes = {}
        if self.categoricals:
            shapes["ids"] = ((len(self.categoricals),), "int32")
        if self.numerics:
            shapes["values"] = ((len(self.numerics),), "float32")
        for bag in self.bags:
            shapes[bag.name] = ((bag.length,), "int32")
            if bag.weights is not None:
                shapes[bag.weights] = ((bag.length,), "float32")
        for vector in self.vectors:
            shapes[vector.name] = ((vector.width,), "float32")
        for sequence in self.sequences:
            shapes[sequence.name] = ((sequence.length,), "int32")
        return shapes

    def bounds(self):
        """Returns `{batch key of ids: [(column name, size), ...]}`, one pair per column."""
        size = {name: feature.size for name, feature in self.vocabularies.items()}
        names = [feature.name for feature in self.categoricals]
        bounds = {"ids": [(name, size[name]) for name in names]} if names else {}
        for feature in (*self.bags, *self.sequences):
            own = feature.name if isinstance(feature, Bag) else feature.vocabulary
            bounds[feature.name] = [(feature.name, size[own])]
        return bounds

    def resized(self, sizes):
        """Returns a copy whose categoricals have the sizes of `{name: size}`."""
        return self.learnt({name: {"size": size} for name, size in sizes.items()})

    def learnt(self, facts):
        """Returns a copy in which options of features are those of `{name: {option: value}}`.

        A name may be that of a vocabulary that sequences share and no column has.
        """
        features = []
        for feature in self.features:
            if isinstance(getattr(feature, "of", None), Categorical):
                of = dataclasses.replace(feature.of, **facts.get(feature.of.name, {}))
                feature = dataclasses.replace(feature, of=of)
            features.append(dataclasses.replace(feature, **facts.get(feature.name, {})))
        return self.like(features)

    def like(self, features):
        """Returns a schema of other features, with label, group and weight of this one."""
        found = Schema(features, label=self.label, group=self.group, weight=self.weight)
        found.guesses = self.guesses
        return found

    @property
    def fields(self):
        """Names of the fields `F` that models see.

        Categoricals, numerics, bags, vectors, and sequences.
        """
        kinds = (self.categoricals, self.numerics, self.bags, self.vectors, self.sequences)
        return [feature.name for kind in kinds for feature in kind]

    def position(self, name):
        """Returns where the field called `name` stands among `fields`.

        Raises:
            ValueError: no such column; the message names the nearest one.
        """
        if name not in self.fields:
            raise unknown("column", name, self.fields)
        return self.fields.index(name)

    def differences(self, other):
        """Returns the names of what differs between this schema and another, for messages."""
        ours, theirs = ({f.name: f for f in schema} for schema in (self, other))
        names = [repr(n) for n in {**ours, **theirs} if ours.get(n) != theirs.get(n)]
        if not names and list(ours) != list(theirs):
            names.append("the order of the columns")
        parts = ("label", "group", "weight")
        return names + [part for part in parts if getattr(self, part) != getattr(other, part)]

    def __getitem__(self, name):
        for feature in self._expanded:
            if feature.name == name:
                return feature
        raise unknown("feature", name, [feature.name for feature in self._expanded])

    def __len__(self):
        return len(self.features)

    def __iter__(self):
        return iter(self.features)

    def __eq__(self, other):
        return isinstance(other, Schema) and self.to_dict() == other.to_dict()

    def __hash__(self):
        return hash((self.features, self.label, self.group, self.weight))

    def __repr__(self):
        counts = {kind.lower(): 0 for kind in ("Categorical", "Numeric")}
        for feature in self.features:
            kind = type(feature).__name__.lower()
            counts[kind] = counts.get(kind, 0) + 1
        found = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return f"<Schema: {found}; label {self.label!r}>"

    def to_dict(self):
        """Returns plain dicts and lists, as JSON can hold, without options at their default."""
        features = []
        for feature in self.features:
            entry = {"kind": type(feature).__name__}
            for field in dataclasses.fields(feature):
                value = getattr(feature, field.name)
                if field.default is dataclasses.MISSING or value != field.default:
                    entry[field.name] = _plain(value)
            features.append(entry)
        found = {"features": features, "label": self.label, "group": self.group}
        return found | ({} if self.weight is None else {"weight": self.weight})

    @classmethod
    def from_dict(cls, config):
        """The inverse of `to_dict`."""
        features = []
        for entry in config["features"]:
            entry = dict(entry)
            kind = entry.pop("kind")
            if kind not in KINDS:
                raise unknown("feature kind", kind, KINDS)
            features.append(KINDS[kind](**entry))
        further = {name: config.get(name) for name in ("group", "weight")}
        return cls(features, label=config["label"], **further)

    get_config, from_config = to_dict, from_dict  # as Keras calls them

    def to_json(self, indent=2):
        """Returns the schema as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_json(cls, text):
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def infer(
        cls,
        df,
        label,
        group=None,
        numeric=(),
        categorical=(),
        sequences=None,
        drop=(),
        *,
        weight=None,
        crosses=1,
    ):
        """Guesses a schema from the values of a data frame; `describe` shows what, and why.

        - Text and categories become `Categorical`, whose `min_count` grows with the number of rows;
          text of several values that come again and again, joined by one of `| ; , ^`, a `Bag`.
        - Numbers with fractions become `Numeric`, by ranks and embedded piecewise-linearly, with a
          flag where values are missing. So do whole numbers that are quantities; those that are
          codes become `Categorical`: they have one or two distinct values, or are called one
          (`…_id`, `zip`), or tell more of the label one by one than by ranges, or count up without
          gaps. Text that spells numbers is numbers, but with leading zeros a code.
        - Dates, datetimes, ISO 8601 text and whole numbers that are moments between 1990 and 2050
          become `Time`, with those parts that differ from row to row.
        - Lists become a `Bag`, of floats and of one length a `Vector`, or a `Sequence` of the
          column named in `sequences`.
        - Pairs of categoricals whose combinations take at least 2% off the log loss that both
          leave apart, measured on held-out halves of the rows, become a `Cross` as well.
        - Left out, with a line in the log: what has no values or only one, numbers that rise from
          row to row, and names that are another one in (nearly) every row.

        Args:
            df: pandas or polars data frame. The index of a pandas frame is not looked at.
            label: name of the label column.
            group: name of the group column for `GAUC`; it is a feature too, unless dropped.
            numeric: names of columns to take as `Numeric` whatever their values.
            categorical: names of columns to take as `Categorical` whatever their values.
            sequences: `{name of a list column: name of the categorical it is a history of}`.
                Its length is that of the longest list.
            drop: names of columns to leave out.
            weight: name of the column of sample weights.
            crosses: largest number of pairs of columns to cross; of more than one, Frappe's
                overfitted.

        Raises:
            ValueError: a name that is no column, no rows, a column of a type that has no place
                here (bytes, structs, objects), or no column that is left.
        """
        from keras_ctr.features.infer import infer

        return infer(df, label, group, numeric, categorical, sequences, drop, weight, crosses)

    def describe(self, print_fn=print):
        """Prints a table of the columns: what each is, with which options, and why it was guessed.

        A wrong guess is one edit away: name the column in `numeric`, `categorical`, `sequences` or
        `drop` of `Schema.infer`, or write the features by hand.

        Args:
            print_fn: function of a line of text.
        """
        rows = [("column", "kind", "options", "why")]
        chosen = {feature.name: feature for feature in self.features}
        for name in {**self.guesses, **chosen}:
            feature, why = chosen.get(name), getattr(self.guesses.get(name), "why", "")
            rows.append((name, *_described(feature), why))
        for role in ("label", "group", "weight"):
            if getattr(self, role) is not None:
                rows.append((getattr(self, role), role, "", ""))
        widths = [max(len(row[at]) for row in rows) for at in range(3)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
            print_fn("  ".join([*cells, row[3]]).rstrip())


def _plain(value):
    """An option of a feature as JSON has it: tuples as lists, a `Categorical` as a dict."""
    if isinstance(value, Categorical):
        return {k: v for k, v in dataclasses.asdict(value).items() if v is not None}
    return list(value) if isinstance(value, tuple) else value


def _described(feature):
    """Kind and options of a feature as text."""
    if feature is None:
        return "left out", ""
    options = [
        f"{field.name}={_short(getattr(feature, field.name))}"
        for field in dataclasses.fields(feature)
        if field.name != "name" and getattr(feature, field.name) != field.default
    ]
    return type(feature).__name__, ", ".join(options)


def _short(value):
    return f"({len(value)} numbers)" if isinstance(value, tuple) and len(value) > 8 else repr(value)
