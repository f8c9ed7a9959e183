"""Avazu's competition in the split of AFN and BARS. See datasets/avazu_x1/README.md."""

from keras_ctr.datasets.fixed import FixedFiles
from keras_ctr.features.columns import Categorical
from keras_ctr.features.schema import Schema

COLUMNS = [f"feat_{at}" for at in range(1, 23)]


class AvazuX1(FixedFiles):
    """Clicks on mobile ads over 10 days: 40,428,967 rows, 22 categorical columns without names.

    28,300,276 / 4,042,897 / 8,085,794 rows for training, validation, test (7 : 1 : 2), as drawn by
    AFN and used by BARS under the name Avazu_x1. Vocabularies keep every value (`min_count` 1).

    Source: Cheng, Shen and Huang, "Adaptive Factorization Network", AAAI 2020, of Kaggle's Avazu
    competition, whose rules apply.
    """

    name = "avazu_x1"
    repository = "Avazu_x1"
    forbids = "the rules of Kaggle's competition must be accepted by whoever uses the data."

    def schema(self):
        return Schema([Categorical(name) for name in COLUMNS], label="label")
