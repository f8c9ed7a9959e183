"""`Vocabulary`: the ids of one categorical column, by falling counts."""

import numpy as np

from keras_ctr.features.coding import coded
from keras_ctr.features.columns import FIRST_TOKEN, PADDING, UNSEEN
from keras_ctr.features.packing import unpack
from keras_ctr.features.tokens import plain, texts_of

MERGE_ROWS = 2**20  # counts of a column are merged when this many new ones have piled up
MERGE_TOKENS = 2**23  # of blocks, dealt with at once


class Vocabulary:
    """Ids 2, 3, ... in the order of falling counts, then of the tokens' text."""

    def __init__(self, feature):
        self.feature = feature
        self.text = self.size = None  # one escaped token per line: split when first needed
        self._counts, self._fresh = None, []
        self._enum = None

    def count(self, column, name, row, fill=True):
        """Learns from a block of raw values."""
        import polars as pl

        texts = texts_of(self.feature, column, name, row, fill)
        found = coded(texts)
        counts = pl.DataFrame({"token": found.values, "count": found.counts()})
        self._fresh.append(counts.drop_nulls("token"))
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
        if self.text is not None:
            return
        self._merge()
        self._close(self._counts)
        self._counts = None

    def _close(self, counts):
        """Orders tokens by their counts, and drops those that are too rare; returns the rest."""
        import polars as pl

        counts = counts.filter(pl.col("count") >= max(self.feature.min_count, 1))
        counts = counts.sort(["count", "token"], descending=[True, False])
        if self.feature.max_size is not None:
            counts = counts.head(self.feature.max_size - FIRST_TOKEN)
        self.text = escaped(counts["token"])
        self.size = len(counts) + FIRST_TOKEN
        return counts

    def fit_blocks(self, sizes, block, packed=False):
        """Learns from all rows, given as blocks of tokens, and returns the ids of those tokens.

        The counts of a share of the tokens, told by a hash, are added up at a time: what memory is
        needed depends on how many tokens are frequent enough, and not on how many rows there are.

        Args:
            sizes: number of tokens of each block.
            block: function of the number of a block; returns its tokens, as `Staging.tokens` has
                them, and how often each is there, int `(tokens,)`.
            packed: whether the tokens of all blocks are keys.

        Returns:
            A list of int32 arrays, the id of every token of every block.
        """
        import pandas as pd
        import polars as pl

        ends = np.cumsum([0, *sizes])
        parts = max(1, -(-int(ends[-1]) // MERGE_TOKENS))
        entry = np.empty(ends[-1], np.int64)  # the distinct token that each token of a block is
        kept, missing, distinct = [], [], 0
        empty = None if self.feature.fill is None else ""  # what the key 0 stands for
        for part in range(parts):
            tokens, counts, where = [], [], []
            for at in range(len(sizes)):
                found, count = block(at)
                if not packed and isinstance(found, np.ndarray):
                    found = unpack(found, empty)
                if parts > 1:
                    rows = np.flatnonzero(_share(found, parts) == part)
                    found, count = found[rows], count[rows]
                    where.append(ends[at] + rows)
                tokens.append(found)
                counts.append(count)
            if not tokens:
                continue
            if packed:
                codes, values = pd.factorize(np.concatenate(tokens))
                is_missing = (values == 0) & (empty is None)
            else:
                found = coded(pl.concat(tokens))
                codes, values = found.codes, found.values
                is_missing = values.is_null().to_numpy()
            total = np.bincount(codes, np.concatenate(counts), len(values)).astype("int64")
            entry[np.concatenate(where) if where else slice(None)] = distinct + codes
            missing.append(distinct + np.flatnonzero(is_missing))
            enough = np.flatnonzero((total >= max(self.feature.min_count, 1)) & ~is_missing)
            texts = unpack(values[enough], "") if packed else values[enough].cast(pl.String)
            columns = {"token": texts, "count": total[enough], "entry": distinct + enough}
            kept.append(pl.DataFrame(columns))
            distinct += len(total)
        none = pl.DataFrame(schema={"token": pl.String, "count": pl.Int64, "entry": pl.Int64})
        chosen = self._close(pl.concat([none, *kept]))
        ids = np.full(distinct, UNSEEN, np.int32)
        ids[chosen["entry"].to_numpy()] = np.arange(FIRST_TOKEN, self.size, dtype=np.int32)
        ids[np.concatenate([np.empty(0, np.int64), *missing])] = PADDING
        return np.split(ids[entry], ends[1:-1]) if len(sizes) else []

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


def _share(tokens, parts):
    """In which of so many parts of the same size a token belongs."""
    if isinstance(tokens, np.ndarray):
        hashes = tokens * np.uint64(0x9E3779B97F4A7C15)
    else:
        hashes = tokens.hash().to_numpy()
    return (hashes >> np.uint64(32)) % np.uint64(parts)


def escaped(tokens):
    """Returns tokens (a polars series) as one text of a line each."""
    for character, written in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r")):
        tokens = tokens.str.replace_all(character, written, literal=True)
    return tokens.str.join("\n")[0] + "\n" if len(tokens) else ""


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
