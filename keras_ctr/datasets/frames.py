"""`Frames`: the source for a data frame of one's own."""

from keras_ctr.datasets.cutting import cut
from keras_ctr.datasets.files import check_fractions
from keras_ctr.datasets.sources import Source, chosen_schema
from keras_ctr.features.frames import as_polars
from keras_ctr.features.schema import Schema
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
        weight: name of the column of weights, where there is no schema.
        split: how rows are cut, see `cutting.cut`.

    Raises:
        ValueError: no rows, labels other than 0 and 1, fractions that leave nothing.
    """

    name = None
    title = "frames"

    def __init__(
        self,
        df,
        schema=None,
        label=None,
        group=None,
        valid=0.1,
        test=0.1,
        seed=0,
        weight=None,
        split="random",
    ):
        frame = as_polars(df)
        group_of_rows = group if schema is None else schema.group
        self._parts = _split_frame(frame, valid, test, split, group_of_rows, seed)
        train, _ = self._parts["train"]
        self._schema = chosen_schema(
            schema,
            label,
            group,
            lambda: Schema.infer(train, label=label, group=group, weight=weight),
            weight,
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
        """The frame as it is: a column that a schema written by hand does not name is an error."""
        return frame.select(self._schema.columns) if self._schema.guesses else frame


def _split_frame(frame, valid, test, split, group, seed):
    """Returns `{split: (frame, row numbers)}`; `valid` and `test` are fractions or frames."""
    frames, given = {}, {"test": test, "valid": valid}
    fractions = {name: part for name, part in given.items() if isinstance(part, int | float)}
    check_fractions(fractions.get("valid", 0.0), fractions.get("test", 0.0))
    for name, part in given.items():
        if name not in fractions:
            frames[name] = as_polars(part), 0
    wanted = {name: part for name, part in fractions.items() if part}
    for name, rows in cut(frame, wanted, split, group, seed).items():
        frames[name] = frame[rows], rows
    for name, (part, _) in frames.items():
        if not len(part):
            raise ValueError(f"`{name}` must have rows. Received: none (of {len(frame)} in `df`)")
    return frames
