"""Frappe, the split of AFN and BARS. See datasets/frappe_x1/README.md."""

from keras_ctr.datasets.sources import SPLITS, Source
from keras_ctr.features.columns import Categorical
from keras_ctr.features.schema import Schema

COLUMNS = "user item daytime weekday isweekend homework cost weather country city".split()


class Frappe(Source):
    """Which app a person uses in which context: 288,609 rows, 10 categorical columns.

    Every log entry is a positive; two negatives per positive are apps the user never used, so a
    third of the rows are positive. 202,027 / 57,722 / 28,860 rows for training, validation, test
    (7 : 2 : 1), as fixed by AFN and used by BARS under the name Frappe_x1. Vocabularies keep every
    value (`min_count` 1): 5,382 distinct values in all.

    Source: Baltrunas et al., "Frappe: Understanding the Usage and Perception of Mobile App
    Recommendations In-The-Wild", arXiv:1505.03014. Free for research; its README forbids passing
    it on without permission. Files: huggingface.co/datasets/reczoo/Frappe_x1.
    """

    name = "frappe_x1"
    folders = ("frappe_x1", "Frappe_x1")
    get = (
        "Download https://huggingface.co/datasets/reczoo/Frappe_x1/resolve/main/Frappe_x1.zip and "
        "unpack it: train.csv, valid.csv, test.csv."
    )

    def schema(self):
        return Schema([Categorical(name) for name in COLUMNS], label="label", group="user")

    def files(self, root):
        return [self.find(root, f"{split}.csv") for split in SPLITS]

    def frames(self, root, reader):
        for split, path in zip(SPLITS, self.files(root), strict=True):
            for frame in reader.table(path, self.schema().columns, self.numbers()):
                yield split, self.raw(frame)
