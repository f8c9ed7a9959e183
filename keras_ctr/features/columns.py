"""What a column is: `Categorical`, `Numeric`, `Sequence`. Plain dataclasses, no Keras.

Ids mean the same in every column: 0 is padding or a missing value, 1 a value that was not in the
vocabulary, and 2, 3, ... are the vocabulary itself.
"""

import dataclasses

PADDING = 0  # also: a missing value
UNSEEN = 1
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


KINDS = {kind.__name__: kind for kind in (Categorical, Numeric, Sequence)}
RESERVED = ("ids", "values")  # keys of a batch; a sequence is found under its own name


def _check_name(feature):
    if not isinstance(feature.name, str) or not feature.name:
        raise ValueError(f"`name` must be a non-empty string. Received: name={feature.name!r}")
