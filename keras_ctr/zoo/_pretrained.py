"""Pre-trained vectors of the values of a column: how they get into a model's embeddings."""

import numpy as np

from keras_ctr._checks import unknown


def widths(pretrained, schema):
    """Returns `{column: (width, whether they are trained)}` of what `CTRModel.adapt` is given.

    Raises:
        ValueError: no such categorical column, or vectors of several widths.
    """
    known = [feature.name for feature in schema.categoricals]
    found = {}
    for name, given in (pretrained or {}).items():
        if name not in known:
            raise unknown("categorical column in `pretrained`:", name, known)
        vectors, trained = _parts(given)
        rows = list(vectors.values()) if hasattr(vectors, "values") else vectors
        if len({len(row) for row in rows}) != 1:
            raise ValueError(
                f"`pretrained` of {name!r} must hold one or more vectors of one width. Received: "
                f"widths {sorted({len(row) for row in rows})}"
            )
        found[name] = (len(rows[0]), trained)
    return found


def fill(model, pretrained):
    """Writes pre-trained vectors to the tables that were made for them."""
    for name, given in (pretrained or {}).items():
        vectors, _ = _parts(given)
        size = model.schema[name].size
        if hasattr(vectors, "items"):
            vectors = _by_id(model, name, dict(vectors), size)
        vectors = np.asarray(vectors, "float32")
        if len(vectors) != size:
            raise ValueError(
                f"`pretrained` of {name!r} must have a row for each of its {size} ids. Received: "
                f"{len(vectors)} rows"
            )
        for layer in model.embeddings:
            if name in layer.tables:
                layer.tables[name][0].assign(vectors)


def _by_id(model, name, vectors, size):
    """The vectors of tokens in the order of their ids; zeros for what has none."""
    tokens = None if model.encoder is None else model.encoder.vocabulary(name)
    if tokens is None:
        raise ValueError(
            f"`pretrained` of {name!r} by values needs the vocabulary of a data set: call "
            "`model.adapt(dataset, pretrained=…)`, or give an array with a row per id."
        )
    by_text = {str(value): vector for value, vector in vectors.items()}
    found = np.zeros((size, len(next(iter(by_text.values())))), "float32")
    for at, token in enumerate(tokens, size - len(tokens)):
        if token in by_text:
            found[at] = by_text[token]
    return found


def _parts(given):
    """Vectors, and whether they are trained."""
    return given if isinstance(given, tuple) else (given, False)
