"""Raw columns: what they are (`Schema`), and how they become arrays (`Encoder`). Knows no Keras."""

from keras_ctr.features.columns import Bag, Categorical, Cross, Numeric, Sequence, Time, Vector
from keras_ctr.features.encoder import Encoder
from keras_ctr.features.schema import Schema

__all__ = [
    "Bag",
    "Categorical",
    "Cross",
    "Encoder",
    "Numeric",
    "Schema",
    "Sequence",
    "Time",
    "Vector",
]
