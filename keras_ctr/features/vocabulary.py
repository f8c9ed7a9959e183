"""`Vocabulary`: the ids of one categorical column, by falling counts."""

from keras_ctr.features.columns import FIRST_TOKEN, PADDING, UNSEEN
from keras_ctr.features.tokens import plain, texts_of

MERGE_ROWS = 2**20  # counts of a column are merged when this many new ones have piled up


class Vocabulary:
    """Ids 2, 3, ... in the order of falling counts, then of the tokens' text."""

    def __init__(self, feature):
        self.feature = feature
        self.text = self.size = None  # one escaped token per line: split when first needed
        self._counts, self._fresh = None, []
        self._enum = None

    def count(self, column, name, row, fill=True):
        """Learns from a block of raw values."""
        texts = texts_of(self.feature, column, name, row, fill).drop_nulls().alias("token")
        self._fresh.append(texts.value_counts(name="count"))
        known = 0 if self._counts is None else len(self._counts)
        if sum(map(len, self._fresh)) > max(MERGE_ROWS, known):
            self._merge()

    def _merge(self):
        import polars as pl

        known = [] if self._counts is None else [self._counts]
        counts = pl.concat(known + [fresh.cast({"count": pl.Int64}) for fresh in self._fresh])
        counts = counts.with_columns(plain(counts["token"]))
        self._counts, self._fresh = counts.group_by("token").agg(pl.col("count").sum()), []

    def finish(self):
        """Closes what was learnt: from here on it never changes."""
        import polars as pl

        self._merge()
        counts = self._counts.filter(pl.col("count") >= self.feature.min_count)
        counts = counts.sort(["count", "token"], descending=[True, False])
        if self.feature.max_size is not None:
            counts = counts.head(self.feature.max_size - FIRST_TOKEN)
        self.text = "".join(_escape(token) + "\n" for token in counts["token"])
        self.size = len(counts) + FIRST_TOKEN
        self._counts = None

    @property
    def tokens(self):
        """The tokens of the ids 2, 3, ... as a list."""
        return [_unescape(line) for line in self.text.split("\n")[:-1]]

    @property
    def by_token(self):
        """`{token: id}`, made anew."""
        return {token: at for at, token in enumerate(self.tokens, FIRST_TOKEN)}

    def ids(self, column, name, row, fill=True):
        """Returns the int32 ids `(n,)` of a block of raw values."""
        import polars as pl

        texts = texts_of(self.feature, column, name, row, fill)
        ids = self._look_up(texts)
        missed = ids.is_null() & texts.is_not_null()
        if missed.any():
            simple = plain(texts.filter(missed))
            ids = ids.scatter(missed.arg_true(), self._look_up(simple).fill_null(UNSEEN))
        return ids.fill_null(PADDING).cast(pl.Int32).to_numpy()

    def _look_up(self, texts):
        """Ids of tokens, null for one that is missing or not in the vocabulary."""
        import polars as pl

        if self._enum is None:  # built once: a hash map of the vocabulary
            self._enum = pl.Enum(self.tokens)
        return texts.cast(self._enum, strict=False).to_physical().cast(pl.Int32) + FIRST_TOKEN

    def save(self, folder, at):
        """Returns what was learnt as JSON can hold it; long lists go to files of `folder`."""
        file = f"vocabulary_{at:03d}.txt"  # not by name: names hold any character
        (folder / file).write_bytes(self.text.encode())
        return {"size": self.size, "file": file}

    def load(self, folder, state):
        """The inverse of `save`."""
        path = folder / state["file"]
        self.size, self.text = state["size"], path.read_bytes().decode()
        if self.text.count("\n") + FIRST_TOKEN != self.size:
            raise ValueError(
                f"{path} must hold {self.size - FIRST_TOKEN} tokens, one per line. "
                f"Received: {self.text.count(chr(10))} lines; the file is damaged."
            )


def _escape(token):
    return token.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _unescape(line):
    if "\\" not in line:
        return line
    plain_text, at = [], 0
    while at < len(line):
        if line[at] == "\\":
            at += 1
            plain_text.append({"n": "\n", "r": "\r"}.get(line[at], line[at]))
        else:
            plain_text.append(line[at])
        at += 1
    return "".join(plain_text)
