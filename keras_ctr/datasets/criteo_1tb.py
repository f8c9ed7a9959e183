"""Criteo's click logs of 24 days, split as MLPerf does. See datasets/criteo_1tb/README.md."""

import numpy as np

from keras_ctr._checks import require_positive
from keras_ctr.datasets.criteo_x4 import HASHES, INTEGERS
from keras_ctr.datasets.sources import Source
from keras_ctr.features.columns import Categorical, Numeric
from keras_ctr.features.schema import Schema

DAYS = 24


class Criteo1TB(Source):
    """Clicks on display ads over 24 days: 4,373,472,329 rows, 13 counts and 26 hashed categories.

    As in MLPerf's DLRM, days 0 to 22 are to train on (4,195,197,692 rows), the first half of day 23
    is for the test (89,137,319), the second for validation (89,137,318). Rows stay in the order of
    time. Counts become `ln(1 + x)`, a missing one 0, which MLPerf takes too; unlike there, a
    negative one becomes `-ln(1 - x)`, not 0.

    Unlike MLPerf, which keeps every category and folds the ids above 40 million, values seen less
    often than `min_count` times in train become "unseen", and `max_size` bounds each vocabulary.

    Raw format: `day_0` to `day_23`, tab separated, no header: label, I1..I13, C1..C26; categories
    are numbers of 32 bits in hexadecimal digits, empty = missing. Columns and hashes are not those
    of `criteo_x4`.

    Args:
        min_count: values seen less often in train become "unseen".
        max_size: keep at most this many ids per column, the most frequent values; all by default.
        days: use the first days only, the last of which is that of validation and test.
    """

    name = "criteo_1tb"
    folders = ("criteo_1tb",)
    get = (
        "Download day_0.gz to day_23.gz from "
        "https://huggingface.co/datasets/criteo/CriteoClickLogs (licence cc-by-nc-sa-4.0)."
    )
    forbids = "Criteo's terms must be accepted by whoever uses the data."
    resumable = True
    decided_by = ("label",)

    def __init__(self, min_count=10, max_size=None, days=DAYS):
        require_positive(days=days)
        if not 2 <= days <= DAYS:
            raise ValueError(f"`days` must be from 2 to {DAYS}. Received: days={days}")
        self.min_count = min_count
        self.max_size = max_size
        self.days = days

    def schema(self):
        counts = [Numeric(name, transform="log", fill=0) for name in INTEGERS]
        kept = {"min_count": self.min_count, "max_size": self.max_size}
        hashes = [Categorical(name, **kept, fill="") for name in HASHES]
        return Schema(counts + hashes, label="label")

    def files(self, root):
        return [self.find(root, f"day_{day}") for day in range(self.days)]

    def frames(self, root, reader):
        *days, last = self.files(root)
        for path in (*days, last):
            for frame in self.read(path, reader):
                yield (None if path == last else "train"), frame

    def read(self, path, reader):
        columns = ["label", *INTEGERS, *HASHES]
        return reader.text(path, columns, self.numbers(), separator="\t", quoted=False)

    def split(self, frames):
        ends = np.cumsum([len(frame) for frame in frames])
        second = np.arange(ends[-1]) >= -(-ends[-1] // 2)  # the first half has the odd row
        return np.split(np.where(second, 1, 2).astype(np.int8), ends[:-1])
