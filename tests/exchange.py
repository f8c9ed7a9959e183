"""Saves every model of the zoo on one backend, to be reloaded on the others.

KERAS_BACKEND=torch python tests/exchange.py FOLDER
"""

import inspect
import pathlib
import sys

import keras
import numpy as np

from keras_ctr import flops, layers, testing, zoo

# A size for every argument that has one, small enough that a model builds in a moment.
SIZES = {
    "attention_dim": 4,
    "block_units": 5,
    "bottom_units": [5],
    "cin_units": [5],
    "dropout": 0.0,
    "embedding_dim": 4,
    "feed_forward_units": 5,
    "fm_tokens": 3,
    "fm_units": [8],
    "gate_units": [5],
    "hidden_units": [8],
    "linear_tokens": 4,
    "merge_size": 2,
    "num_blocks": 1,
    "num_cross_layers": 1,
    "num_exponential_layers": 1,
    "num_heads": 2,
    "num_layers": 2,
    "num_linear_layers": 1,
    "num_neurons": 5,
    "num_recent": 2,
    "num_tokens": 3,
    "num_vectors": [3],
    "rank": 2,
    "second_units": [4],
    "token_dim": 8,
    "top_k": 3,
}
# What a model needs beside or instead.
SPECIAL = {
    "afm": {"dropout": 0.1},
    "bst": {"dropout": 0.1},
    "deepfm": {"dropout": 0.1, "hidden_units": [8, 4]},
    "finalmlp": {"contexts": ["user", None]},
    "rankmixer": {"num_tokens": 4},  # as many as heads: they must divide `token_dim`
    "tokenmixer_large": {"num_tokens": 4},
    # Few iterations: they are unrolled, and 20 take TensorFlow and JAX long to compile.
    "unimixer": {"num_tokens": 4, "mixing": layers.UniMixing(4, iterations=3)},
    "unimixer_lite": {"num_tokens": 4, "mixing": layers.UniMixingLite(4, iterations=3)},
    # Their residuals are many small operations, which take as long to compile.
    "attnres": {"num_layers": 1},
    "hyper_connections": {"num_layers": 1},
    "mhc": {"num_layers": 1},
}


def sizes(name):
    """Returns small sizes for the arguments in the constructor's signature of a model."""
    takes = inspect.signature(zoo.MODELS[name].__init__).parameters
    return {k: v for k, v in SIZES.items() if k in takes} | SPECIAL.get(name, {})


SMALL = {name: sizes(name) for name in zoo.names()}


def save_all(folder):
    """Writes of each model `.keras`, `.weights.h5`, predictions `.npy`, a table of `.flops`."""
    schema = testing.example_schema()
    batch, _ = testing.example_batch(schema)
    for name in zoo.names():
        keras.utils.set_random_seed(0)
        model = zoo.get(name, **SMALL[name]).adapt(schema)
        for weight in model.trainable_weights:  # tables start too small to tell models apart
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        model.save(pathlib.Path(folder) / f"{name}.keras")
        model.save_weights(pathlib.Path(folder) / f"{name}.weights.h5")
        np.save(pathlib.Path(folder) / f"{name}.npy", testing.probabilities(model, batch))
        (pathlib.Path(folder) / f"{name}.flops").write_text(str(flops(model)))


if __name__ == "__main__":
    save_all(sys.argv[1])
