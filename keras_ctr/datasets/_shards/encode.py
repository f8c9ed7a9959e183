"""`encode`: from a source to a sink, the one way that rows of data sets go.

A source yields frames (`Source`: raw files, or a data frame); a sink takes arrays (`Writer`: shards
on disk; `Memory`).
"""

import numpy as np

from keras_ctr.features.encoder import Encoder


def encode(source, root, reader, open_sink, over=iter, encoder=None):
    """Encodes all rows of a source: fits an encoder on those of train, then encodes everything.

    Args:
        source: a `Source`.
        root: folder (or file) of its raw data, or `None`.
        reader: `Reader` of raw files.
        open_sink: function of the fitted encoder; returns a context manager whose value has
            `add(split, arrays, skipped_rows)`.
        over: what iterates over the frames, such as a progress bar does.
        encoder: a fitted `Encoder` to use as it is.

    Returns:
        The encoder, and what `open_sink` made.

    Raises:
        ValueError: bad rows; as `Encoder.fit` and `Encoder.encode`.
        OSError: the sink cannot be written.
    """
    if encoder is None:
        encoder = Encoder(source.schema(), source=source.name)
        train = (
            source.known(frame)
            for split, frame in over(source.frames(root, reader))
            if split == "train"
        )
        rows = source.row_numbers("train")
        encoder.fit(*((train,) if rows is None else (next(train), rows)))
    counted, weighed, reader.skipped = {}, {}, 0
    with open_sink(encoder) as sink:
        for split, frame in over(source.frames(root, reader)):
            rows, first = source.row_numbers(split), counted.get(split, 0)
            arrays = _encoded(encoder, split, frame, source.extras, first if rows is None else rows)
            sink.add(split, arrays, reader.skipped)
            counted[split], reader.skipped = first + len(frame), 0
            weights = arrays.get("extra:weight") if encoder.schema.weight is not None else None
            if weights is not None:
                weighed[split] = weighed.get(split, False) or bool(weights.any())
        for split, some in weighed.items():
            if not some:
                raise ValueError(
                    f"The weight {encoder.schema.weight!r} must not be 0 in every row. "
                    f"Received: {counted[split]} rows of {split}, all of weight 0"
                )
    return encoder, sink


def _encoded(encoder, split, frame, extras, first_row):
    """Like `Encoder.encode`, but labels must be there, extras come too, errors name the split."""
    schema = encoder.schema
    needed = (schema.label, schema.group, schema.weight)
    absent = [name for name in needed if name is not None and name not in frame.columns]
    if absent:
        raise ValueError(f"The {split} rows must have the columns {', '.join(absent)}.")
    try:
        arrays = encoder.encode(frame, first_row=first_row)
    except ValueError as error:
        raise ValueError(f"In {split}: {error}") from error
    if "weight" in arrays:
        arrays["extra:weight"] = arrays.pop("weight")
    for name in extras:
        arrays[f"extra:{name}"] = frame[name].to_numpy().astype(np.float32)
    return arrays
