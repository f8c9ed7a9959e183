"""`Schema`: the columns of a data set in their order. No Keras.

A schema is written by hand, inferred from a data frame (`Schema.infer`), or comes with a data set;
it travels with the data and inside every saved model.
"""

import dataclasses
import json

from keras_ctr._checks import unknown
from keras_ctr.features.columns import KINDS, RESERVED, Categorical, Numeric, Sequence


class Schema:
    """The columns of a data set, in the order in which batches hold them.

    A batch of `B` rows is a dict of packed arrays: `"ids"` `(B, F)` int32 with one column per
    `Categorical`, `"values"` `(B, N)` float32 with one per `Numeric`, and for every `Sequence`
    its own `(B, S)` int32 entry under its name. Keys without columns are left out.

    Args:
        features: list of `Categorical`, `Numeric` and `Sequence`.
        label: name of the label column (0 or 1).
        group: optional name of the column whose values group rows for `GAUC` (often the user).

    Example:

    >>> schema = Schema([Categorical("user", 100), Categorical("item", 50), Numeric("price"),
    ...                  Sequence("history", of="item", length=20)], label="click", group="user")
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    def __init__(self, features, label="label", group=None):
        self.features = tuple(features)
        self.label = label
        self.group = group
        for feature in self.features:
            if type(feature) not in KINDS.values():
                raise ValueError(
                    "`features` must hold Categorical, Numeric and Sequence objects. "
                    f"Received: {feature!r}"
                )
        if not self.features:
            raise ValueError("`features` must not be empty.")
        names = [feature.name for feature in self.features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Feature names must be unique. Received twice: {', '.join(twice)}")
        if label in names:
            raise ValueError(f"The label {label!r} must not be a feature as well.")
        for sequence in self.sequences:
            if sequence.of not in (feature.name for feature in self.categoricals):
                raise ValueError(
                    f"Sequence {sequence.name!r} must be `of` a Categorical of the schema. "
                    f"Received: of={sequence.of!r}"
                )
            if sequence.name in RESERVED:
                raise ValueError(f"A sequence must not be called {sequence.name!r}.")

    @property
    def categoricals(self):
        """The `Categorical` features, in the order of the columns of `batch["ids"]`."""
        return [f for f in self.features if isinstance(f, Categorical)]

    @property
    def numerics(self):
        """The `Numeric` features, in the order of the columns of `batch["values"]`."""
        return [f for f in self.features if isinstance(f, Numeric)]

    @property
    def sequences(self):
        """The `Sequence` features."""
        return [f for f in self.features if isinstance(f, Sequence)]

    @property
    def columns(self):
        """Names of all raw columns: features, then the group if it is none of them, then label."""
        names = [feature.name for feature in self.features]
        if self.group is not None and self.group not in names:
            names.append(self.group)
        return names + [self.label]

    @property
    def sized(self):
        """Whether every `Categorical` knows its `size`, as models need."""
        return all(feature.size is not None for feature in self.categoricals)

    def shapes(self):
        """Returns `{batch key: (shape of one row, dtype)}`."""
        shapes = {}
        if self.categoricals:
            shapes["ids"] = ((len(self.categoricals),), "int32")
        if self.numerics:
            shapes["values"] = ((len(self.numerics),), "float32")
        for sequence in self.sequences:
            shapes[sequence.name] = ((sequence.length,), "int32")
        return shapes

    def bounds(self):
        """Returns `{batch key of ids: [(column name, size), ...]}`, one pair per column."""
        size = {feature.name: feature.size for feature in self.categoricals}
        bounds = {"ids": list(size.items())} if size else {}
        for sequence in self.sequences:
            bounds[sequence.name] = [(sequence.name, size[sequence.of])]
        return bounds

    def resized(self, sizes):
        """Returns a copy whose categoricals have the sizes of `{name: size}`."""
        features = [
            dataclasses.replace(f, size=sizes[f.name]) if f.name in sizes else f
            for f in self.features
        ]
        return Schema(features, label=self.label, group=self.group)

    @property
    def fields(self):
        """Names of the fields `F` that models see: categoricals, then numerics, then histories."""
        return [f.name for f in (*self.categoricals, *self.numerics, *self.sequences)]

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
        parts = ("label", "group")
        return names + [part for part in parts if getattr(self, part) != getattr(other, part)]

    def __getitem__(self, name):
        for feature in self.features:
            if feature.name == name:
                return feature
        raise unknown("feature", name, [feature.name for feature in self.features])

    def __len__(self):
        return len(self.features)

    def __iter__(self):
        return iter(self.features)

    def __eq__(self, other):
        return isinstance(other, Schema) and self.to_dict() == other.to_dict()

    def __hash__(self):
        return hash((self.features, self.label, self.group))

    def __repr__(self):
        counts = f"{len(self.categoricals)} categorical, {len(self.numerics)} numeric"
        return f"<Schema: {counts}, {len(self.sequences)} sequence; label {self.label!r}>"

    def to_dict(self):
        """Returns plain dicts and lists, as JSON can hold, without options at their default."""
        features = []
        for feature in self.features:
            entry = {"kind": type(feature).__name__}
            for field in dataclasses.fields(feature):
                value = getattr(feature, field.name)
                if field.default is dataclasses.MISSING or value != field.default:
                    entry[field.name] = value
            features.append(entry)
        return {"features": features, "label": self.label, "group": self.group}

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
        return cls(features, label=config["label"], group=config.get("group"))

    get_config, from_config = to_dict, from_dict  # as Keras calls them

    def to_json(self, indent=2):
        """Returns the schema as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_json(cls, text):
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def infer(cls, df, label, group=None, numeric=(), categorical=(), sequences=None, drop=()):
        """Guesses a schema from a data frame.

        Strings, booleans, integers and floats that hold only whole numbers (pandas' way of storing
        integers with missing values) become `Categorical`, since logs mostly count by id; other
        floats become `Numeric`. Lists become a `Sequence` of the column named in `sequences`.

        Args:
            df: pandas or polars data frame.
            label: name of the label column.
            group: name of the group column for `GAUC`; it is a feature too, unless dropped.
            numeric: names of columns to take as `Numeric` whatever their dtype.
            categorical: names of columns to take as `Categorical` whatever their dtype.
            sequences: `{name of a list column: name of the categorical it is a history of}`.
                Its length is that of the longest list.
            drop: names of columns to leave out (a row number, say).

        Raises:
            ValueError: a name that is no column, or a list column that is not in `sequences`.
        """
        from keras_ctr.features.infer import infer

        return infer(df, label, group, numeric, categorical, sequences, drop)
