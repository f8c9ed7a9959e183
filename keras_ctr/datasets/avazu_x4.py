"""Avazu click-through rate prediction, split and encoded as Avazu_x4. See datasets/avazu_x4."""

import polars as pl

from keras_ctr.datasets._shards.stratified import OneFile
from keras_ctr.features.columns import Categorical
from keras_ctr.features.schema import Schema

KEPT = (
    "hour C1 banner_pos site_id site_domain site_category app_id app_domain app_category device_id "
    "device_ip device_model device_type device_conn_type C14 C15 C16 C17 C18 C19 C20 C21"
).split()


class Avazu(OneFile):
    """Clicks on mobile ads over 10 days of October 2014: 40,428,967 rows, 24 categorical columns.

    Split by stratified folds 8 : 1 : 1, as in AutoInt (arXiv:1810.11921) and BARS (Avazu_x4). `id`
    is dropped; of `hour` (YYMMDDHH) the hour of the day is kept, and `weekday` (0 = Sunday) and
    `is_weekend` are derived from its date.

    Raw format: `train.gz`, CSV with a header of 24 columns. From Kaggle's Avazu competition, whose
    rules apply.

    Args:
        min_count: values seen less often in train become "unseen": 2 is the benchmark's
            Avazu_x4_001, 1 its Avazu_x4_002.
    """

    name = "avazu_x4"
    folders = ("avazu_x4", "avazu")
    forbids = "Kaggle's rules must be accepted by whoever uses the data."
    get = (
        "Download train.gz (40,428,967 rows) of "
        "https://www.kaggle.com/competitions/avazu-ctr-prediction (needs a Kaggle account)."
    )

    def __init__(self, min_count=2):
        self.min_count = min_count

    def schema(self):
        names = [*KEPT, "weekday", "is_weekend"]
        return Schema([Categorical(name, min_count=self.min_count) for name in names], "click")

    def files(self, root):
        return [self.find(root, "train", "train.csv", alone=True)]

    def rows(self, path, reader):
        columns = ["id", "click", *KEPT]
        for frame in reader.table(path, columns, ["click"], separator=","):
            yield self.raw(frame.drop("id"))

    def read(self, path, reader):
        columns = ["id", "click", *KEPT]
        for frame in reader.table(
            path, columns, ["click"], optional=["id", "click"], extra=True, separator=","
        ):
            yield self.raw(frame)

    def raw(self, frame):
        """Splits `hour` (YYMMDDHH, text or integer) into hour of day, weekday and weekend.

        Raises:
            ValueError: an `hour` of another form.
        """
        time = frame["hour"].cast(pl.String).str.strip_chars()
        date = ("20" + time.str.slice(0, 6)).str.to_date("%Y%m%d", strict=False)
        wrong = (time.is_not_null() & (date.is_null() | (time.str.len_chars() != 8))).arg_true()
        if len(wrong):
            raise ValueError(
                f"Column 'hour' must be of the form YYMMDDHH. Received: {time[wrong[0]]!r} "
                f"({len(wrong)} such rows)"
            )
        weekday = date.dt.weekday() % 7  # polars: Monday = 1 ... Sunday = 7
        weekend = weekday.is_in([0, 6]).cast(pl.Int8)
        made = {"hour": time.str.slice(6, 2), "weekday": weekday, "is_weekend": weekend}
        return frame.with_columns(**made)
