"""Frappe, the split of AFN and BARS. See datasets/frappe_x1/README.md."""

from keras_ctr.datasets.fixed import FixedFiles, archive
from keras_ctr.features.columns import Categorical
from keras_ctr.features.schema import Schema

COLUMNS = "user item daytime weekday isweekend homework cost weather country city".split()


class Frappe(FixedFiles):
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
    repository = "Frappe_x1"
    downloads = (
        archive(
            repository,
            train="ba7306e6c4fc19dd2cd84f2f0596d158",
            valid="88d51bf2173505436d3a8f78f2a59da8",
            test="3470f6d32713dc5f7715f198ca7c612a",
        ),
    )

    def schema(self):
        return Schema([Categorical(name) for name in COLUMNS], label="label", group="user")
