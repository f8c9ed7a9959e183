"""Raw columns: what they are (`Schema`), and how they become arrays (`Encoder`). Knows no Keras."""

from keras_ctr.features.columns import Categorical, Numeric, Sequence
from keras_ctr.features.encoder import Encoder
from keras_ctr.features.schema import Schema

__all__ = ["Categorical", "Encoder", "Numeric", "Schema", "Sequence"]
