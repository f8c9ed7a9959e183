"""Generated clicks whose true probabilities are known. Card: datasets/synthetic/README.md."""

import numpy as np
import polars as pl

from keras_ctr.datasets._synthetic import COLUMNS, LENGTH, NAMES, World
from keras_ctr.datasets.sources import Source
from keras_ctr.features.columns import Categorical, Numeric, Sequence
from keras_ctr.features.schema import Schema

CHUNK = 100_000  # rows per frame, about 40 MB


class Synthetic(Source):
    """Generated impressions with known click probabilities: the test bed of the zoo.

    12 categorical columns with Zipf-like frequencies (2 to 10,000 values; a city is missing in 3%
    of the rows), 4 numeric ones (`price` is skewed, `idle_days` is missing without a history) and
    `history`: up to 20 items, oldest first, empty in 8% of the rows. One row in five is a click.

    The logit is a sum of first-order effects, products of latent factors of two and of three
    columns, non-linear effects of the numbers, the match of the item's latent kind with the
    history (newer events weigh more; no column shows the kind of a past item), and that match
    times a squashed second-order term: a composition of interactions, for which depth pays.

    The column `probability`, kept as an extra and no feature, is the true click probability, so
    that no model can exceed `AUC(label, probability)`, the Bayes AUC of a split.

    A row is a pure function of the seed, the split and its number: more rows continue the same
    data. The splits are independent draws from the same truth.

    Args:
        rows: training rows.
        seed: fixes the truth and the rows.
        valid_rows: validation rows; a quarter of `rows` by default.
        test_rows: test rows; a quarter of `rows` by default.
    """

    name = "synthetic"
    extras = ("probability",)

    def __init__(self, rows=200_000, seed=0, valid_rows=None, test_rows=None):
        for name, value in (("rows", rows), ("valid_rows", valid_rows), ("test_rows", test_rows)):
            if value is None and name != "rows":
                continue
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
        self.rows = rows
        self.seed = seed
        self.valid_rows = valid_rows
        self.test_rows = test_rows

    def schema(self):
        # A user with few rows is better known by age, gender and city than by an own embedding.
        features = [Categorical(name, min_count=50 if name == "user" else 1) for name in COLUMNS]
        features += [Numeric("price", transform="log"), Numeric("discount")]
        features += [Numeric("relevance"), Numeric("idle_days")]
        features += [Sequence("history", of="item", length=LENGTH)]
        return Schema(features, label="click", group="user")

    def frames(self, root=None, reader=None):
        world = World(self.seed)
        quarter = max(1, self.rows // 4)
        sizes = {
            "train": self.rows,
            "valid": self.valid_rows or quarter,
            "test": self.test_rows or quarter,
        }
        for split, size in sizes.items():
            for start in range(0, size, CHUNK):
                yield split, _frame(world, split, start, min(start + CHUNK, size))


def _frame(world, split, start, stop):
    """Rows `[start, stop)` of a split as raw columns."""
    columns = world.columns(split, start, stop)
    row = np.arange(start, stop)
    probability = world.truth(columns)
    raw = {}
    for name in COLUMNS:
        names = pl.Series(NAMES.get(name, np.arange(COLUMNS[name][0])))
        raw[name] = names.gather(columns[name])
    city_known = pl.Series(world.draws.uniform(f"{split}/city_known", row) > 0.03)
    has_history = pl.Series(columns["length"] > 0)
    history = pl.Series(columns["history"]).arr.to_list().list.tail(pl.Series(columns["length"]))
    click = world.draws.uniform(f"{split}/click", row) < probability
    return pl.DataFrame(
        raw
        | {name: columns[name] for name in ("price", "discount", "relevance", "idle_days")}
        | {"history": history, "click": click.astype(np.int8), "probability": probability}
    ).with_columns(
        city=pl.when(city_known).then("city"),
        idle_days=pl.when(has_history).then("idle_days"),
    )
