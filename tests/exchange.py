"""Saves every model of the zoo on one backend, to be reloaded on the others.

KERAS_BACKEND=torch python tests/exchange.py FOLDER
"""

import pathlib
import sys

import keras
import numpy as np
from keras import ops

from keras_ctr import flops, layers, testing, zoo

FIELDS = {"embedding_dim": 4, "token_dim": 8, "num_layers": 2, "num_heads": 2}
TOKENS = {**FIELDS, "num_tokens": 3}
MIXED = {"embedding_dim": 4, "token_dim": 8, "num_tokens": 4, "num_layers": 2}

# Every model at a size that builds in a moment.
SMALL = {
    "lr": {},
    "fm": {"embedding_dim": 4},
    "dnn": {"embedding_dim": 4, "hidden_units": [8, 4]},
    "deepfm": {"embedding_dim": 4, "hidden_units": [8, 4], "dropout": 0.1},
    "dcnv2": {"embedding_dim": 4, "num_layers": 2, "hidden_units": [8, 4]},
    "autoint": {"embedding_dim": 4, "attention_dim": 8, "num_layers": 2},
    "ffm": {"embedding_dim": 2},
    "fwfm": {"embedding_dim": 4},
    "fmfm": {"embedding_dim": 4},
    "afm": {"embedding_dim": 4, "attention_dim": 3, "dropout": 0.1},
    "wide_deep": {"embedding_dim": 4, "hidden_units": [8]},
    "ipnn": {"embedding_dim": 4, "hidden_units": [8], "dropout": 0.0},
    "nfm": {"embedding_dim": 4, "hidden_units": [8], "dropout": 0.0},
    "dcn": {"embedding_dim": 4, "num_layers": 2, "hidden_units": [8]},
    "gdcn": {"embedding_dim": 4, "num_layers": 1, "hidden_units": [8], "dropout": 0.0},
    "fcn": {"embedding_dim": 4, "num_exponential_layers": 1, "num_linear_layers": 1},
    "xdeepfm": {"embedding_dim": 4, "cin_units": [5], "hidden_units": [8], "dropout": 0.0},
    "autoint_plus": {
        "embedding_dim": 4,
        "attention_dim": 4,
        "num_layers": 1,
        "hidden_units": [8],
    },
    "fibinet": {"embedding_dim": 4, "hidden_units": [8], "dropout": 0.0},
    "masknet": {"embedding_dim": 4, "num_blocks": 1, "block_units": 5, "hidden_units": [8]},
    "afn": {"embedding_dim": 4, "num_neurons": 5, "hidden_units": [8]},
    "eulernet": {"embedding_dim": 4, "num_vectors": [3]},
    "dlrm": {"embedding_dim": 4, "bottom_units": [5], "hidden_units": [8]},
    "finalmlp": {
        "embedding_dim": 4,
        "hidden_units": [8],
        "second_units": [4],
        "num_heads": 2,
        "gate_units": [5],
        "contexts": ["user", None],
    },
    "finalnet": {"embedding_dim": 4, "hidden_units": [8], "second_units": [4]},
    "wukong": {
        "embedding_dim": 4,
        "num_layers": 2,
        "fm_tokens": 3,
        "linear_tokens": 4,
        "rank": 2,
        "fm_units": [8],
        "hidden_units": [8],
    },
    "hiformer": {**FIELDS, "rank": 4},
    "rankmixer": MIXED,
    "tokenmixer_large": {**MIXED, "num_heads": 2},
    # Few iterations: they are unrolled, and 20 take TensorFlow and JAX long to compile.
    "unimixer": {**MIXED, "mixing": layers.UniMixing(4, iterations=3)},
    "unimixer_lite": {**MIXED, "mixing": layers.UniMixingLite(4, iterations=3)},
    "din": {"embedding_dim": 4, "hidden_units": [8]},
    "dien": {"embedding_dim": 4, "hidden_units": [8]},
    "bst": {"embedding_dim": 4, "num_heads": 2, "hidden_units": [8], "dropout": 0.1},
    "sim_soft": {
        "embedding_dim": 4,
        "top_k": 3,
        "num_recent": 2,
        "attention_dim": 3,
        "num_heads": 2,
        "hidden_units": [8],
    },
    "transact": {
        "embedding_dim": 4,
        "num_layers": 1,
        "feed_forward_units": 5,
        "num_recent": 2,
        "num_cross_layers": 1,
        "hidden_units": [8],
    },
    "hstu": {**TOKENS, "hidden_units": [8]},
    "longer": {**TOKENS, "merge_size": 2, "num_recent": 2},
    "onetrans": TOKENS,
    "denseformer": TOKENS,
    "hyper_connections": TOKENS | {"num_layers": 1},
    "mhc": TOKENS | {"num_layers": 1},
    "attnres": TOKENS | {"num_layers": 1},
    "deres": TOKENS,
}


def save_all(folder):
    """Writes `<name>.keras`, its predictions `.npy` and its table of `.flops` for every model."""
    schema = testing.example_schema()
    batch = {
        key: ops.convert_to_tensor(array) for key, array in testing.example_batch(schema)[0].items()
    }
    for name in zoo.names():
        keras.utils.set_random_seed(0)
        model = zoo.get(name, **SMALL[name]).adapt(schema)
        for weight in model.trainable_weights:  # tables start too small to tell models apart
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        model.save(pathlib.Path(folder) / f"{name}.keras")
        np.save(pathlib.Path(folder) / f"{name}.npy", ops.convert_to_numpy(model(batch)))
        (pathlib.Path(folder) / f"{name}.flops").write_text(str(flops(model)))


if __name__ == "__main__":
    save_all(sys.argv[1])
