"""`Table`: one embedding table, with what its optimizer keeps for each row."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ctr.backend import read_rows, settler, write_rows
from keras_ctr.training.rounding import stochastic


class Index(NamedTuple):
    """The distinct ids of a lookup.

    Attributes:
        ids: `(n,)` row numbers, distinct. Where shapes are static, those from `count` on are the
            size of the table: no row at all.
        where: `(positions,)`, for each position of the lookup, where its id stands in `ids`.
        count: scalar, the number of distinct ids; None where that is `n`.
        present: `(n, 1)`, False for padding, whose row stays what it is.
    """

    ids: Any
    where: Any
    count: Any
    present: Any


class Read(NamedTuple):
    """What a step has read of a table.

    Attributes:
        index: the `Index`.
        rows: `(n, D)`, settled.
        stored: what the table and its state hold at these rows, to be handed to `write_rows`; None
            where reading that again costs less than keeping it.
    """

    index: Index
    rows: Any
    stored: Any


class Table:
    """The table of one `FeatureEmbedding`, with what its optimizer keeps for each row.

    That stands side by side in one variable, `state`: all of a row's slots are found at once.

    Args:
        layer: the built `FeatureEmbedding`.
        rule: a `TableOptimizer`.
        l2: `λ` of `(λ/2)·‖w‖²` of rows, whose decay in skipped steps is made up for.
        number: which of the model's embeddings the layer is, by which a saved state is found.
    """

    def __init__(self, layer, rule, l2=0.0, number=0):
        self.layer = layer
        self.rule = rule
        self.l2 = l2
        self.number = number
        self.weight = layer.table
        self.penalties = None
        self._settler = None  # made once: it is compiled
        size, width = self.weight.shape
        slots = rule.slots(width)
        if rule.decays or l2:
            slots["last"] = (1, 0.0)  # the step at which a row was last in a batch; exact to 2^24
        self.widths = {name: slot_width for name, (slot_width, _) in slots.items()}
        self.state = None
        if slots:
            start = [x for slot_width, initial in slots.values() for x in [initial] * slot_width]
            self.state = keras.Variable(
                lambda shape, dtype: ops.tile(ops.convert_to_tensor([start], dtype), (size, 1)),
                shape=(size, len(start)),
                dtype="float32",
                trainable=False,
                autocast=False,
                name=f"{layer.name}_state",
            )

    def penalize(self, strength):
        """Adds `strength_j·w_j` `(rows,)` to the gradient of each row `j` when it is in a batch."""
        self.penalties = keras.Variable(
            strength[:, None], dtype="float32", trainable=False, autocast=False, name="penalties"
        )

    @property
    def _variables(self):
        return [self.weight] if self.state is None else [self.weight, self.state]

    def read(self, index, step, settled, learning_rate):
        """Returns the `Read` of an index, before a step."""

        def at_this_step(rows, state=None):
            return self.settled(rows, state, step, settled, learning_rate)

        return Read(index, *read_rows(at_this_step, index, self._variables))

    def settled(self, rows, state, step, settled, learning_rate):
        """Returns rows settled up to the step before `step`; up to `settled` they were before."""
        rows = ops.cast(rows, "float32")
        if not self.rule.decays:
            return rows
        slots = self._slots(state)
        since = ops.maximum(settled - slots["last"], 0.0)
        until = ops.maximum(step - 1 - slots["last"], since)
        return self.rule.settle(rows, slots, slots["last"], learning_rate, since, until)

    def _slots(self, state=None):
        """The columns of the state by name."""
        if state is None:
            return {}
        ends, names = 0, {}
        for name, width in self.widths.items():
            names[name] = state[:, ends : ends + width]
            ends += width
        return names

    def update(self, read, gradient, allowed, step, settled, learning_rate):
        """Writes new rows and their state.

        Args:
            read: a `Read`.
            gradient: `(n, D)`, of equal ids summed.
            allowed: scalar, False if this step is to change nothing.
            step: scalar, from 1.
            settled: scalar, step up to which all rows were settled.
            learning_rate: scalar.
        """

        def new(before, others, given):
            (stored, *state), (rows, gradient, present) = before, given
            slots, gap = self._slots(*state), 1.0
            if "last" in slots:
                gap = step - slots["last"]  # (n, 1)
            if self.l2:
                gradient = gradient + ops.where(present, self.l2 * gap, 0.0) * rows
            for strength in others:
                gradient = gradient + ops.where(present, strength, 0.0) * rows
            moved, after = self.rule.update(rows, gradient, slots, step, learning_rate, gap)
            if "last" in slots:
                after["last"] = ops.zeros_like(slots["last"]) + step
            if self.rule.moves_at_rest:  # in other rules padding, without a gradient, stays anyway
                moved = ops.where(present, moved, rows)
            moved = ops.where(allowed, moved, ops.cast(stored, "float32"))
            after = {name: ops.where(allowed, after[name], slots[name]) for name in slots}
            columns = [after[name] for name in self.widths]
            if len(columns) > 1:
                columns = [ops.concatenate(columns, axis=-1)]
            return stochastic(moved, self.weight.dtype, step), *columns

        others = [] if self.penalties is None else [self.penalties]
        given = read.rows, gradient, read.index.present
        write_rows(new, read.index, self._variables, read.stored, others, given)

    def settle(self, step, settled, learning_rate):
        """Gives all rows the moves they are owed after `step` steps, in place."""
        if self.rule.decays:
            if self._settler is None:
                self._settler = settler(
                    lambda rows, state, step, *now: stochastic(
                        self.settled(rows, state, step, *now), self.weight.dtype, step
                    )
                )
            self._settler(self.weight, self.state, step + 1, settled, learning_rate)
