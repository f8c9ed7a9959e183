"""Click-through-rate models for Keras 3: one zoo on TensorFlow, JAX and PyTorch.

>>> keras_ctr.zoo.get("deres").name
'deres'
"""

import importlib
import sys

from keras_ctr import _rooms, datasets
from keras_ctr._version import __version__
from keras_ctr.features import (
    Bag,
    Categorical,
    Cross,
    Encoder,
    Numeric,
    Schema,
    Sequence,
    Time,
    Vector,
    encoder,
    schema,
)

__all__ = [
    "Bag",
    "Categorical",
    "Cross",
    "Dataset",
    "Encoder",
    "Numeric",
    "Schema",
    "Sequence",
    "Source",
    "Time",
    "Vector",
    "__version__",
    "datasets",
    "serving",
    *_rooms.NAMES,
    *_rooms.ASKED_FOR,
]

# `import keras_ctr.schema` finds what now stands in a room.
sys.modules.update(
    {f"keras_ctr.{module.__name__.rpartition('.')[2]}": module for module in (encoder, schema)}
)
_rooms.wait()


def __getattr__(name):
    if name in ("Dataset", "Source"):  # which need Keras, or polars
        return getattr(datasets, name)
    if name == "serving":  # which needs NumPy alone, until a model is exported
        return importlib.import_module("keras_ctr.serving")
    if name in _rooms.NAMES or name in _rooms.ASKED_FOR:
        return _rooms.public(name)
    raise AttributeError(f"module 'keras_ctr' has no attribute {name!r}")


def __dir__():
    return [*globals(), *__all__]
