"""Click-through-rate models for Keras 3: one zoo on TensorFlow, JAX and PyTorch.

>>> keras_ctr.zoo.get("deres").name
'deres'
"""

import sys

from keras_ctr import _start, datasets
from keras_ctr._version import __version__
from keras_ctr.features import Categorical, Encoder, Numeric, Schema, Sequence, encoder, schema

__all__ = [
    "Categorical",
    "Dataset",
    "Encoder",
    "Numeric",
    "Schema",
    "Sequence",
    "Source",
    "__version__",
    "datasets",
]

_NEED_A_BACKEND = [
    "flops",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "recipes",
    "studies",
    "training",
    "zoo",
]

if _start.choose():
    from keras_ctr import layers, losses, metrics, optimizers, training, zoo  # noqa: F401
    from keras_ctr.experiments import plots, recipes, studies
    from keras_ctr.measure import flops  # noqa: F401

    __all__ += _NEED_A_BACKEND
    _moved = [encoder, schema, plots, recipes, studies]
else:  # data can be prepared where no backend is installed
    _moved = [encoder, schema]


def __getattr__(name):
    if name in ("Dataset", "Source"):  # which need Keras, or polars
        return getattr(datasets, name)
    if name in _NEED_A_BACKEND:
        raise ImportError(
            f"keras_ctr.{name} needs a backend. Install one of them: "
            "`pip install keras-ctr[jax]`, `[tensorflow]` or `[torch]`."
        )
    raise AttributeError(f"module 'keras_ctr' has no attribute {name!r}")


# `import keras_ctr.recipes` finds what now stands in a room.
sys.modules.update({f"keras_ctr.{module.__name__.rpartition('.')[2]}": module for module in _moved})
