"""Criteo's challenge in the split of AFN and BARS. See datasets/criteo_x1/README.md."""

from keras_ctr.datasets.criteo_x4 import HASHES, INTEGERS
from keras_ctr.datasets.fixed import FixedFiles
from keras_ctr.features.columns import Categorical, Numeric
from keras_ctr.features.schema import Schema


class CriteoX1(FixedFiles):
    """Clicks on display ads over 7 days: 45,840,617 rows, 13 quantities and 26 categories.

    33,003,326 / 8,250,124 / 4,587,167 rows for training, validation, test, as drawn by AFN and
    used by BARS under the name Criteo_x1. Quantities are AFN's numbers, used as they are and
    embedded linearly (`x·v`); categories are its ids, all of them kept (`min_count` 1).

    Source: Cheng, Shen and Huang, "Adaptive Factorization Network", AAAI 2020, of Kaggle's Criteo
    Display Advertising Challenge, under Criteo's terms for research.
    """

    name = "criteo_x1"
    repository = "Criteo_x1"
    forbids = "Criteo's terms must be accepted by whoever uses the data."

    def schema(self):
        numbers = [Numeric(name, transform=None) for name in INTEGERS]
        return Schema(numbers + [Categorical(name) for name in HASHES], label="label")
