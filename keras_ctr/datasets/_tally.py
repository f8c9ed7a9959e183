"""`Tally`: how often each value of a column is there, and is clicked, in memory that is bounded."""

import numpy as np
import polars as pl

from keras_ctr.features.tokens import plain

NUM_ROWS, CLICKS = [f"n{at}" for at in range(3)], [f"c{at}" for at in range(3)]  # per split
COUNTS = NUM_ROWS + CLICKS
FREQUENT = 10  # every tenth place is for a frequent value once there are too many
PILE = 2**18  # rows of counts that wait to be merged


class Tally:
    """Counts of the values of a column, block by block.

    Up to `limit` distinct values are counted exactly. When there are more, the most frequent of
    them stay so; of all others those stay whose hash is small, a uniform sample of the values, each
    with all its rows. Sums over the sample, scaled to the number of rows that are known to be
    there, estimate sums over all.

    Args:
        limit: largest number of values kept.
    """

    def __init__(self, limit):
        self.limit = limit
        self.share = 1.0  # of the values that are not frequent, those that are kept
        self._totals = np.zeros(len(COUNTS))
        self._table, self._fresh = None, []

    @property
    def exact(self):
        """Whether every value was counted."""
        return self.share == 1.0

    def add(self, values, splits, clicks):
        """Counts a block.

        Args:
            values: polars series `(n,)` of text or of float64, null where a value is missing.
            splits: int8 `(n,)`: 0 train, 1 valid, 2 test.
            clicks: `(n,)`, 0 or 1.
        """
        parts = {name: (splits == at).astype(np.int64) for at, name in enumerate(NUM_ROWS)}
        parts |= {
            name: parts[rows] * clicks.astype(np.int64)
            for name, rows in zip(CLICKS, NUM_ROWS, strict=True)
        }
        self._totals += [part.sum() for part in parts.values()]
        frame = pl.DataFrame({"value": values, **parts}).group_by("value").agg(pl.all().sum())
        if frame["value"].dtype == pl.String:
            frame = frame.with_columns(plain(frame["value"]))
        self._fresh.append(frame.with_columns(frequent=pl.lit(False)))
        if sum(map(len, self._fresh)) > PILE:
            self._merge()

    def _merge(self):
        parts = ([] if self._table is None else [self._table]) + self._fresh
        table = pl.concat(parts).group_by("value")
        table = table.agg(pl.col(COUNTS).sum(), pl.col("frequent").any())
        self._fresh = []
        if self.exact and len(table) > self.limit:
            rows = table.select(pl.sum_horizontal(NUM_ROWS)).to_series()
            frequent = np.zeros(len(table), bool)
            frequent[np.argsort(-rows.to_numpy())[: self.limit // FREQUENT]] = True
            table = table.with_columns(frequent=pl.Series(frequent) | table["value"].is_null())
        self._table = self._sampled(table)

    def _sampled(self, table):
        # The upper bits, as a number in [0, 1).
        place = (table["value"].hash().to_numpy() >> np.uint64(11)) / 2.0**53
        frequent = table["frequent"].to_numpy() | table["value"].is_null().to_numpy()
        while (frequent | (place < self.share)).sum() > max(self.limit, frequent.sum() + 1):
            self.share /= 2
        return table.filter(frequent | (place < self.share))

    def table(self):
        """Returns the counts as a data frame: `value`, `frequent`, `n0`..`n2`, `c0`..`c2`.

        Counts of values that stand for others are as they are; see `scaled`.
        """
        self._merge()
        return self._table.with_columns(pl.lit(True).alias("frequent") if self.exact else [])

    def scaled(self, table):
        """Returns `table` as floats, in which the sampled values stand for all of their kind."""
        table = table.with_columns(pl.col(COUNTS).cast(pl.Float64))
        if self.exact:
            return table
        left = self._totals - table.filter("frequent").select(COUNTS).sum().row(0)
        there = table.filter(~pl.col("frequent")).select(COUNTS).sum().row(0)
        factors = left / np.maximum(there, 1)
        return table.with_columns(
            pl.when("frequent").then(pl.col(name)).otherwise(pl.col(name) * factor).alias(name)
            for name, factor in zip(COUNTS, factors, strict=True)
        )

    def distinct(self, table):
        """The number of values in `table`, or about how many it stands for."""
        there = table.filter(pl.col("value").is_not_null())
        frequent = there["frequent"].sum()
        return round(frequent + (len(there) - frequent) / self.share)
