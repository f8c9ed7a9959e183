"""Click-through-rate models for Keras 3: one zoo on TensorFlow, JAX and PyTorch.

>>> keras_ctr.zoo.get("deres").name
'deres'
"""

from keras_ctr import _backend, datasets
from keras_ctr.schema import Categorical, Numeric, Schema, Sequence

__version__ = "0.1.0"

__all__ = ["Categorical", "Numeric", "Schema", "Sequence", "datasets"]

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

if _backend.choose():
    from keras_ctr import (  # noqa: F401
        layers,
        losses,
        metrics,
        optimizers,
        plots,
        recipes,
        studies,
        training,
        zoo,
    )
    from keras_ctr._flops import flops  # noqa: F401

    __all__ += _NEED_A_BACKEND
else:  # data can be prepared where no backend is installed

    def __getattr__(name):
        if name in _NEED_A_BACKEND:
            raise ImportError(
                f"keras_ctr.{name} needs a backend. Install one of them: "
                "`pip install keras-ctr[jax]`, `[tensorflow]` or `[torch]`."
            )
        raise AttributeError(f"module 'keras_ctr' has no attribute {name!r}")
