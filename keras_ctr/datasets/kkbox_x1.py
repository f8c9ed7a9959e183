"""KKBox's challenge in the split of BARS. See datasets/kkbox_x1/README.md."""

import numpy as np
import polars as pl

from keras_ctr.datasets.fixed import FixedFiles
from keras_ctr.features.columns import Bag, Categorical
from keras_ctr.features.schema import Schema

COLUMNS = (
    "msno song_id source_system_tab source_screen_name source_type city gender registered_via "
    "language"
).split()
AGES = [10, 20, 30, 40, 50, 60]  # where one group ends; of ages from 1 to 95
KEPT = 3  # genres and artists of a song


class KKBox(FixedFiles):
    """Whether a person hears a song again within a month: 7,377,418 rows, 13 columns.

    5,901,932 / 737,743 / 737,743 rows for training, validation, test (8 : 1 : 1), as drawn by BARS
    under the name KKBox_x1. Values seen less often than 10 times in train become "unseen". Of
    `isrc` the country is kept, its first two characters; `bd`, the age, becomes one of seven
    groups, and is missing outside of 1 to 95; `genre_ids` and `artist_name` are bags of at most 3.

    Source: Zhu et al., "BARS: Towards Open Benchmarking for Recommender Systems", arXiv:2205.09626,
    of the WSDM Cup 2018 on Kaggle, whose rules apply.
    """

    name = "kkbox_x1"
    repository = "KKBox_x1"
    forbids = "the rules of Kaggle's competition must be accepted by whoever uses the data."
    further = True

    def schema(self):
        names = [*COLUMNS, "isrc", "bd"]
        features = [Categorical(name, min_count=10) for name in names]
        features += [Bag(name, length=KEPT) for name in ("genre_ids", "artist_name")]
        return Schema(features, label="label", group="msno")

    def raw(self, frame):
        age = frame["bd"].cast(pl.Float64, strict=False)
        known = age.is_between(1, 95).fill_null(False)
        group = np.searchsorted(AGES, age.fill_null(0).to_numpy(), "left") + 1
        bd = pl.Series("bd", group).cast(pl.String)
        bd = bd.zip_with(known, pl.Series("bd", [None], pl.String).new_from_index(0, len(bd)))
        return frame.with_columns(isrc=frame["isrc"].cast(pl.String).str.slice(0, 2), bd=bd)
