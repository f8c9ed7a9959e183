"""`Frames`: the source for a data frame of one's own."""

import numpy as np

from keras_ctr.datasets.files import check_fractions
from keras_ctr.datasets.sources import Source, chosen_schema
from keras_ctr.features.frames import as_polars
from keras_ctr.features.infer import infer
from keras_ctr.features.tokens import labels


class Frames(Source):
    """A data frame, of which parts are cut for validation and test, or come as frames.

    Args:
        df: pandas or polars data frame.
        schema: `Schema`; by default it is inferred from the rows to train on.
        label: name of the label column, where there is no schema.
        group: name of the group column, where there is no schema.
        valid: fraction of the rows for validation, or a data frame of its own.
        test: the same for the test.
        seed: fixes which rows are drawn.

    Raises:
        ValueError: no rows, labels other than 0 and 1, fractions that leave nothing.
    """

    name = None
    title = "frames"

    def __init__(self, df, schema=None, label=None, group=None, valid=0.1, test=0.1, seed=0):
        frame = as_polars(df)
        self._parts = _split_frame(frame, valid, test, seed)
        train, _ = self._parts["train"]
        self._schema = chosen_schema(
            schema, label, group, lambda: infer(train, label=label, group=group)
        )
        name = self._schema.label
        if name in frame.columns:  # before the cut: all rows with a wrong label are counted
            labels(frame[name], name, lambda at: at)

    def schema(self):
        return self._schema

    def frames(self, root=None, reader=None):
        for split, (frame, _) in self._parts.items():
            yield split, frame

    def row_numbers(self, split):
        return self._parts[split][1]

    def known(self, frame):
        """The frame as it is: a column that the schema does not name is an error."""
        return frame


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
