"""A data frame -> encoded splits in memory."""

import numpy as np

from keras_ctr.datasets._shards.prepare import chosen_schema, encode
from keras_ctr.datasets._shards.split import Split
from keras_ctr.datasets.files import check_fractions
from keras_ctr.features.encoder import Encoder
from keras_ctr.features.frames import as_polars
from keras_ctr.features.schema import Schema
from keras_ctr.features.tokens import labels


def encoded_splits(df, valid, test, seed, schema, label, group, encoder):
    """Returns the encoder (fitted on train unless given) and `{split: Split}`."""
    frame = as_polars(df)
    frames = _split_frame(frame, valid, test, seed)
    train, rows = frames["train"]
    schema = chosen_schema(
        schema if encoder is None else encoder.schema,
        label,
        group,
        lambda: Schema.infer(train, label=label, group=group),
    )
    if schema.label in frame.columns:  # before the cut: all rows with a wrong label are counted
        labels(frame[schema.label], schema.label, lambda at: at)
    if encoder is None:
        encoder = Encoder(schema).fit(train, rows)
    return encoder, {
        name: Split([encode(encoder, name, part, first_row=rows)])
        for name, (part, rows) in frames.items()
    }


def _split_frame(frame, valid, test, seed):
    """Returns `{split: (frame, row numbers)}`; `valid` and `test` are fractions or frames."""
    frames, rows = {}, np.random.default_rng(seed).permutation(len(frame))
    fractions = [part for part in (valid, test) if isinstance(part, int | float)]
    check_fractions(*fractions, *[0.0] * (2 - len(fractions)))
    for name, part in (("test", test), ("valid", valid)):
        if not isinstance(part, int | float):
            frames[name] = as_polars(part), 0
        elif part:
            count = max(1, round(part * len(frame)))
            chosen, rows = np.sort(rows[:count]), rows[count:]
            frames[name] = frame[chosen], chosen
    rows = np.sort(rows)
    frames["train"] = frame[rows], rows
    for name, (part, _) in frames.items():
        if not len(part):
            raise ValueError(f"`{name}` must have rows. Received: none (of {len(frame)} in `df`)")
    return frames
