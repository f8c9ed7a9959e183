"""What a column is: `Categorical`, `Cross`, `Numeric`, `Time`, `Bag`, `Vector`, `Sequence`.

No Keras here.

Ids mean the same in every column: 0 is padding or a missing value, 1 a value that was not in the
vocabulary, and 2, 3, ... are the vocabulary itself.
"""

import dataclasses

PADDING = 0  # also: a missing value
UNSEEN = 1
JOINED_BY = "\x1f"  # the texts of a combination: the unit separator of ASCII
FIRST_TOKEN = 2  # ids below this one carry a fixed meaning


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
        _check_least(self, min_count=1, max_size=FIRST_TOKEN, hash_size=1)
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
class Cross(Categorical):
    """Combinations of values of several categorical columns, each a name of its own.

    For what embeddings of the columns would have to be multiplied for, and learn slowly: that this
    user knows this item. There is no raw column of this name; where a value of one column is
    missing, so is the combination. After the cross-product transformation of Wide & Deep
    (arXiv 1606.07792, equation 2).

    Args:
        name: name of the field, `"user x item"`, say.
        size, min_count, max_size, hash_size: as for `Categorical`.
        of: names of two or more categoricals of the schema, parts of a `Time` (`"time.hour"`) among
            them; not those whose `buckets` are quantiles.
    """

    of: tuple = ()

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "of", tuple(self.of) if isinstance(self.of, list) else self.of)
        if not isinstance(self.of, tuple) or len(set(self.of)) < max(2, len(self.of)):
            raise ValueError(
                f"`of` of {self.name!r} must name two or more columns, each once. "
                f"Received: of={self.of!r}"
            )
        if self.buckets is not None or self.fill is not None:
            raise ValueError(
                f"`buckets` and `fill` of {self.name!r} are those of its columns. Received: "
                f"buckets={self.buckets!r}, fill={self.fill!r}"
            )


TRANSFORMS = ("standardize", "quantile", "log", None)
EMBEDDINGS = ("linear", "piecewise", "periodic", "autodis")
POOLS = ("mean", "sum", "max")


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A column whose values are quantities. Encoded as float32; a missing value becomes 0.

    Args:
        name: column name.
        transform: `"standardize"` (subtract the mean of the training data, divide by its standard
            deviation), `"quantile"` (the normal quantile of the value's rank in the training data,
            so that every column is spread alike, whatever its tails), `"log"`
            (`sign(x)·ln(1 + |x|)`), or `None` (as it is).
        fill: raw value that stands in for a missing one; `None` makes a missing value 0 *after*
            the transform, which for `"standardize"` is the mean and for `"quantile"` the median.
        embedding: how models embed the encoded value. `"linear"`: the value times a learned vector;
            `"piecewise"`: piecewise-linear between bin edges (`layers.PiecewiseLinearEmbedding`);
            `"periodic"`: sines and cosines of learned frequencies (`layers.PeriodicEmbedding`),
            both of arXiv 2203.05556 and with a ReLU at the end, but for first-order weights;
            `"autodis"`: learned buckets (`layers.AutoDis`, arXiv 2012.08986).
        bins: number of bins for `"piecewise"`, at quantiles of the training data.
        edges: their edges, in encoded values; `None` until an encoder has been fitted.
        flag: whether a missing value is told by a further numeric field, `"<name>.missing"`, which
            is 1 there and else 0.
        codes: an integer adds a categorical field, `"<name>.value"`, in which each number that is
            seen at least so often in the training data has an embedding of its own: for
            quantities of which single values stand out.
        size: number of ids of that field; `None` until an encoder has been fitted.
    """

    name: str
    transform: str | None = "standardize"
    fill: float | None = None
    embedding: str = "linear"
    bins: int = 48
    edges: tuple | None = None
    flag: bool = False
    codes: int | None = None
    size: int | None = None

    def __post_init__(self):
        _check_name(self)
        _check_choice(self, "transform", TRANSFORMS)
        _check_choice(self, "embedding", EMBEDDINGS)
        _check_least(self, bins=2, codes=1, size=FIRST_TOKEN)
        _plain_edges(self)

    @property
    def derived(self):
        """The further columns that are made of this one: its flag, its codes."""
        found = [Numeric(f"{self.name}.missing", transform=None)] if self.flag else []
        if self.codes is not None:
            found.append(Categorical(f"{self.name}.value", self.size, self.codes))
        return tuple(found)


# Parts of a moment that are names, and how many there are; the names count from 0.
NAMES_OF_TIME = {"hour": 24, "weekday": 7, "day": 32, "month": 13}
CYCLES = {"day_cycle": 86400.0, "week_cycle": 7 * 86400.0, "year_cycle": 365.2425 * 86400.0}
PARTS = (*NAMES_OF_TIME, "days", *CYCLES)
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclasses.dataclass(frozen=True)
class Time:
    """A column of moments, of which models see the parts: no moment comes twice.

    Raw values are datetimes, dates, times of day, ISO 8601 text, or numbers counted from 1970 in
    `unit`. A time zone is dropped: the hour is that of the clock that the column shows.

    Args:
        name: column name.
        parts: fields made of it, in this order, each called `"<name>.<part>"`. Names: `"hour"`,
            `"weekday"` (Monday first), `"day"` (of the month), `"month"`. A quantity: `"days"`
            (with fractions, held between the first and the last moment of the training data, and
            standardized). Cycles, sine and cosine each, in fields `"….sin"` and
            `"….cos"`: `"day_cycle"`, `"week_cycle"`, `"year_cycle"`.
        unit: of numbers: `"s"`, `"ms"`, `"us"` or `"ns"`.
        edges: of `"days"`, which is embedded piecewise, as for `Numeric`.
    """

    name: str
    parts: tuple = ("hour", "weekday", "days")
    unit: str = "s"
    edges: tuple | None = None

    def __post_init__(self):
        _check_name(self)
        _plain_edges(self)
        object.__setattr__(self, "parts", tuple(self.parts))
        wrong = [part for part in self.parts if part not in PARTS]
        if wrong or not self.parts or len(set(self.parts)) < len(self.parts):
            raise ValueError(
                f"`parts` of {self.name!r} must be one or more of {', '.join(PARTS)}, each once. "
                f"Received: parts={self.parts}"
            )
        _check_choice(self, "unit", tuple(UNITS))

    @property
    def derived(self):
        """The columns that are made of this one, as `Categorical` and `Numeric`."""
        found = []
        for part in self.parts:
            name = f"{self.name}.{part}"
            if part in NAMES_OF_TIME:
                found.append(Categorical(name, NAMES_OF_TIME[part] + FIRST_TOKEN))
            elif part == "days":
                found.append(Numeric(name, embedding="piecewise", edges=self.edges))
            else:
                found += [Numeric(f"{name}.{wave}", transform=None) for wave in ("sin", "cos")]
        return tuple(found)


@dataclasses.dataclass(frozen=True)
class Bag:
    """A column with several values per row whose order means nothing: genres, tags, words.

    Encoded as ids of a vocabulary of its own, `(B, length)`, padded with 0. Models see one field,
    the values' embeddings pooled; sequence models see the values as tokens if `tokens` is set.

    Args:
        name: column name. Raw values are lists, or text joined by `separator`.
        length: most values kept of a row, the first ones. `None`: as many as the longest row of
            the training data has, at most 64.
        size: number of ids, as for `Categorical`; `None` until an encoder has been fitted.
        pool: `"mean"`, `"sum"` or `"max"`; an empty bag is the zero vector.
        weights: name of a further raw column that holds one number per value, aligned with them;
            they multiply the embeddings, and divide the mean. 0 for a missing weight.
        separator: what joins the values where the raw data are text.
        min_count, max_size, hash_size: as for `Categorical`.
        tokens: whether models of sequences see its values one by one.
    """

    name: str
    length: int | None = None
    size: int | None = None
    pool: str = "mean"
    weights: str | None = None
    separator: str = "|"
    min_count: int = 1
    max_size: int | None = None
    hash_size: int | None = None
    tokens: bool = False

    def __post_init__(self):
        _check_name(self)
        _check_choice(self, "pool", POOLS)
        _check_least(self, length=1)
        _check_separator(self)
        if self.tokens and self.weights is not None:
            raise ValueError(
                f"`tokens` of {self.name!r} leaves pooling to the model, which knows no `weights`: "
                "give one of the two."
            )
        object.__setattr__(self, "size", self.vocabulary.size)  # checked there

    keep = "first"  # as of a `Sequence`

    @property
    def vocabulary(self):
        """The `Categorical` that says how its values become ids."""
        return Categorical(
            self.name, self.size, self.min_count, self.max_size, hash_size=self.hash_size
        )


@dataclasses.dataclass(frozen=True)
class Vector:
    """A column that holds an array of numbers per row: the embedding of an image, of a text.

    Encoded as float32 `(B, width)`; a missing vector, or number, becomes 0. Models see one field,
    its projection by a learned matrix.

    Args:
        name: column name. Raw values are lists or arrays of `width` numbers, or text in which they
            are joined by `separator`.
        width: how many numbers; `None` until an encoder has been fitted.
        transform: `"standardize"` (each number by mean and standard deviation of the training
            data) or `None` (as they are).
        separator: what joins the numbers where the raw data are text.
    """

    name: str
    width: int | None = None
    transform: str | None = "standardize"
    separator: str = " "

    def __post_init__(self):
        _check_name(self)
        _check_least(self, width=1)
        _check_choice(self, "transform", ("standardize", None))
        _check_separator(self)


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A history: a list of values of a categorical column, oldest first.

    Encoded right-aligned, padded with 0 on the left, so that the newest event is always last.

    Events with several attributes (item, category, action, gap in time) are several sequences,
    aligned event by event, which models read side by side (`groups` of `zoo.get("din")`, say).

    Args:
        name: column name. Raw values are lists, or strings joined by `separator`.
        of: name of the `Categorical` whose vocabulary (and embedding) it shares. Where no column
            holds what the events are (an action, a gap in time), a `Categorical` that says how
            they become ids: `of=Categorical("gap", buckets="log2")`. Sequences `of` equal ones
            share the vocabulary. Such a history has no target: models see zeros in its place.
        length: number of positions `S` kept.
        keep: which end of a longer history is kept, `"last"` (the newest) or `"first"`.
        separator: what joins the values where the raw data are text.
    """

    name: str
    of: str | Categorical
    length: int
    keep: str = "last"
    separator: str = "^"

    def __post_init__(self):
        _check_name(self)
        _check_least(self, length=1)
        _check_choice(self, "keep", ("last", "first"))
        _check_separator(self)
        if isinstance(self.of, dict):  # as `Schema.to_dict` writes it
            object.__setattr__(self, "of", Categorical(**self.of))

    @property
    def vocabulary(self):
        """Name of the `Categorical` whose ids its events are."""
        return self.of.name if isinstance(self.of, Categorical) else self.of


KINDS = {kind.__name__: kind for kind in (Categorical, Cross, Numeric, Time, Bag, Vector, Sequence)}
RESERVED = ("ids", "values")  # keys of a batch; a sequence is found under its own name


def _check_name(feature):
    if not isinstance(feature.name, str) or not feature.name:
        raise ValueError(f"`name` must be a non-empty string. Received: name={feature.name!r}")


def _check_choice(feature, option, choices):
    value = getattr(feature, option)
    if value not in choices:
        known = [repr(choice) for choice in choices]
        raise ValueError(
            f"`{option}` of {feature.name!r} must be {', '.join(known[:-1])} or {known[-1]}. "
            f"Received: {option}={value!r}"
        )


def _check_least(feature, **least):
    for option, smallest in least.items():
        value = getattr(feature, option)
        if value is not None and value < smallest:
            raise ValueError(
                f"`{option}` of {feature.name!r} must be at least {smallest}. "
                f"Received: {option}={value}"
            )


def _check_separator(feature):
    if not isinstance(feature.separator, str) or not feature.separator:
        raise ValueError(
            f"`separator` of {feature.name!r} must be text. "
            f"Received: separator={feature.separator!r}"
        )


def _plain_edges(feature):
    """Edges as floats, as JSON gives them back."""
    if feature.edges is not None:
        object.__setattr__(feature, "edges", tuple(float(edge) for edge in feature.edges))
