"""How often every row of the tables occurs in the data to train on."""

import math

import numpy as np


def occurrences(embeddings, x, validation_split=0.0):
    """Returns of each embedding layer how often the rows of its table occur, float32 arrays.

    Args:
        embeddings: list of `FeatureEmbedding`.
        x: a data set, or packed arrays, which are read once.
        validation_split: the part of arrays, at their end, that is not trained on.

    Raises:
        ValueError: data that cannot be read twice.
    """
    if isinstance(x, dict):
        kept = math.floor(len(next(iter(x.values()))) * (1 - validation_split))
        batches = [{key: array[:kept] for key, array in x.items()}]  # as Keras splits them
    elif hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        batches = (x[at][0] for at in range(len(x)))
    else:
        raise ValueError(
            "`batch_l2` counts ids before training, so it needs a data set, or packed arrays, "
            f"that can be read twice. Received: {type(x).__name__}"
        )
    counts = [0] * len(embeddings)
    for batch in batches:
        counts = [n + e.occurrences(batch) for n, e in zip(counts, embeddings, strict=True)]
    return tuple(np.asarray(n, "float32") for n in counts)
