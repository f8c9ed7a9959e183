"""Criteo Display Advertising Challenge, split and encoded as Criteo_x4. See datasets/criteo_x4."""

from keras_ctr.datasets._shards.stratified import OneFile
from keras_ctr.features.columns import Categorical
from keras_ctr.features.schema import Schema

INTEGERS = [f"I{at}" for at in range(1, 14)]
HASHES = [f"C{at}" for at in range(1, 27)]


class Criteo(OneFile):
    """Clicks on display ads over 7 days: 45,840,617 rows, 13 counts and 26 hashed categories.

    Split by stratified folds to 36,672,493 / 4,584,062 / 4,584,062 rows, the 8 : 1 : 1 of AutoInt
    (arXiv:1810.11921) and of BARS (Criteo_x4). Counts become categories by `floor(ln(x)²)`, a
    missing count is 0, a missing category the empty text.

    Raw format: `train.txt`, tab separated, no header: label, I1..I13, C1..C26; empty = missing.
    From Kaggle's Criteo Display Advertising Challenge, under Criteo's terms for research.

    Args:
        min_count: values seen less often in train become "unseen": 10 is the benchmark's
            Criteo_x4_001, 2 its Criteo_x4_002.
    """

    name = "criteo_x4"
    folders = ("criteo_x4", "criteo")
    forbids = "Criteo's terms must be accepted by whoever uses the data."
    get = (
        "Download the Kaggle Display Advertising Challenge data "
        "(https://go.criteo.net/criteo-research-kaggle-display-advertising-challenge-dataset.tar.gz"
        "): train.txt, 45,840,617 lines, md5 4dcfe6c4b7783585d4ae3c714994f26a."
    )

    def __init__(self, min_count=10):
        self.min_count = min_count

    def schema(self):
        counts = [
            Categorical(name, min_count=self.min_count, buckets="log2", fill=0) for name in INTEGERS
        ]
        hashes = [Categorical(name, min_count=self.min_count, fill="") for name in HASHES]
        return Schema(counts + hashes, label="label")

    def files(self, root):
        return [self.find(root, "train.txt", alone=True)]

    def rows(self, path, reader):
        columns = ["label", *INTEGERS, *HASHES]
        return reader.text(path, columns, self.numbers(), separator="\t", quoted=False)

    def read(self, path, reader):
        columns = ["label", *INTEGERS, *HASHES]
        if len(reader.names(path, separator="\t", quoted=False)) == len(columns) - 1:
            columns.remove("label")  # the challenge's test.txt
        numbers = [name for name in self.numbers() if name in columns]
        return reader.text(path, columns, numbers, separator="\t", quoted=False)
