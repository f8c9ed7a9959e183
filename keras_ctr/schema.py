"""What the columns are: `Categorical`, `Numeric`, `Sequence`, and the `Schema` that orders them.

Plain dataclasses, no Keras. A schema is written by hand, inferred from a data frame
(`Schema.infer`), or comes with a data set; it travels with the data and inside every saved model.

Ids mean the same in every column: 0 is padding or a missing value, 1 a value that was not in the
vocabulary, and 2, 3, ... are the vocabulary itself.
"""

import dataclasses
import difflib
import json

PADDING = 0  # also: a missing value
UNSEEN = 1
FIRST_TOKEN = 2  # ids below this one carry a fixed meaning


def unknown(kind, name, known):
    """Returns a `ValueError` for `name`, with the nearest of the `known` names and all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A column whose values are names: an id, a hash, a string, a bucket.

    Args:
        name: column name.
        size: number of ids, counting 0 (missing) and 1 (unseen): ids lie in `[0, size)`.
            `None` until an encoder has been fitted.
        min_count: values seen fewer times in the training data become id 1.
        max_size: keep at most this many ids (0 and 1 included), the most frequent values first.
        hash_size: hash values into this many buckets instead of fitting a vocabulary
            (`size = hash_size + 2`; nothing is ever unseen).
        buckets: cut a numeric column into names. An integer: that many quantiles of the training
            data. `"log2"`: the rule of the Criteo benchmarks, `floor(ln(x)²)` for `x > 2`, else
            `int(x)`.
        fill: value that stands in for a missing one; `None` leaves it missing (id 0).
    """

    name: str
    size: int | None = None
    min_count: int = 1
    max_size: int | None = None
    hash_size: int | None = None
    buckets: int | str | None = None
    fill: str | int | float | None = None

    def __post_init__(self):
        _check_name(self)
        if self.size is not None:
            object.__setattr__(self, "size", int(self.size))
            if self.size < FIRST_TOKEN:
                raise ValueError(
                    f"`size` of {self.name!r} counts the ids 0 (missing) and 1 (unseen), so it is "
                    f"at least 2. Received: size={self.size}"
                )
        for option, least in (("min_count", 1), ("max_size", FIRST_TOKEN), ("hash_size", 1)):
            value = getattr(self, option)
            if value is not None and value < least:
                raise ValueError(
                    f"`{option}` of {self.name!r} must be at least {least}. "
                    f"Received: {option}={value}"
                )
        is_count = isinstance(self.buckets, int) and self.buckets >= 2
        if self.buckets is not None and self.buckets != "log2" and not is_count:
            raise ValueError(
                f"`buckets` of {self.name!r} must be None, 'log2' or an integer of at least 2. "
                f"Received: buckets={self.buckets!r}"
            )
        if self.hash_size and (self.max_size or self.min_count > 1):
            raise ValueError(
                f"`hash_size` of {self.name!r} replaces the vocabulary: it cannot be combined "
                "with `min_count` or `max_size`."
            )


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A column whose values are quantities. Encoded as float32; a missing value becomes 0.

    Args:
        name: column name.
        transform: `"standardize"` (subtract the mean of the training data, divide by its standard
            deviation), `"log"` (`sign(x)·ln(1 + |x|)`), or `None` (as it is).
        fill: raw value that stands in for a missing one; `None` makes a missing value 0 *after*
            the transform, which for `"standardize"` is the mean.
    """

    name: str
    transform: str | None = "standardize"
    fill: float | None = None

    def __post_init__(self):
        _check_name(self)
        if self.transform not in ("standardize", "log", None):
            raise ValueError(
                f"`transform` of {self.name!r} must be 'standardize', 'log' or None. "
                f"Received: transform={self.transform!r}"
            )


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A history: a list of values of a categorical column, oldest first.

    Encoded right-aligned, padded with 0 on the left, so that the newest event is always last.

    Args:
        name: column name. Raw values are lists, or strings joined by `separator`.
        of: name of the `Categorical` whose vocabulary (and embedding) it shares.
        length: number of positions `S` kept.
        keep: which end of a longer history is kept, `"last"` (the newest) or `"first"`.
        separator: what joins the values where the raw data are text.
    """

    name: str
    of: str
    length: int
    keep: str = "last"
    separator: str = "^"

    def __post_init__(self):
        _check_name(self)
        if self.length < 1:
            raise ValueError(
                f"`length` of {self.name!r} must be at least 1. Received: length={self.length}"
            )
        if self.keep not in ("last", "first"):
            raise ValueError(
                f"`keep` of {self.name!r} must be 'last' or 'first'. Received: keep={self.keep!r}"
            )


_KINDS = {kind.__name__: kind for kind in (Categorical, Numeric, Sequence)}
_RESERVED = ("ids", "values")  # keys of a batch; a sequence is found under its own name


def _check_name(feature):
    if not isinstance(feature.name, str) or not feature.name:
        raise ValueError(f"`name` must be a non-empty string. Received: name={feature.name!r}")


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
            if type(feature) not in _KINDS.values():
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
            if sequence.name in _RESERVED:
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
            if kind not in _KINDS:
                raise unknown("feature kind", kind, _KINDS)
            features.append(_KINDS[kind](**entry))
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
        import polars as pl

        from keras_ctr._frame import as_polars

        frame = as_polars(df)
        sequences = dict(sequences or {})
        given = [label, *numeric, *categorical, *sequences, *drop]
        for name in given + ([group] if group is not None else []):
            if name not in frame.columns:
                raise unknown("column", name, frame.columns)
        features = []
        for name in frame.columns:
            if name == label or name in drop:
                continue
            dtype = frame.schema[name]
            if isinstance(dtype, pl.List | pl.Array):
                if name not in sequences:
                    raise ValueError(
                        f"Column {name!r} holds lists: say in `sequences` which categorical it is "
                        "a history of, or `drop` it."
                    )
                longest = frame[name].list.len().max() or 1
                features.append(Sequence(name, of=sequences[name], length=longest))
            elif name in numeric or (name not in categorical and _is_quantity(frame[name])):
                features.append(Numeric(name))
            else:
                features.append(Categorical(name))
        return cls(features, label=label, group=group)


def _is_quantity(column):
    """Whether a polars column holds floats that are not all whole numbers."""
    if not column.dtype.is_float():
        return False
    finite = column.drop_nulls().drop_nans()
    return not (finite == finite.round()).all()
