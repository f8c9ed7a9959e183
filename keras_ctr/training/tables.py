"""Row updates: a training step that reads and writes only the table rows of its batch.

The table of a `FeatureEmbedding` and its slots are state that Keras's optimizer does not see. While
a step runs, every layer's lookup is tapped: the tap records the ids and hands out rows, and the
step differentiates with respect to those. Then the gradients of equal ids are summed, and the
`TableOptimizer` makes new rows, which are written in place.
"""

import contextlib
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ctr.training import rules
from keras_ctr.training._backend import DENSE_UP_TO, combined, settled_in_place, take, write

CHOICES = ("auto", "rows", "dense")


class Table:
    """The table of one `FeatureEmbedding`, with what its optimizer keeps for each row.

    Args:
        layer: the built `FeatureEmbedding`.
        rule: a `TableOptimizer`.
        l2: `λ` of `(λ/2)·‖w‖²` of rows, whose decay in skipped steps is made up for.
    """

    def __init__(self, layer, rule, l2=0.0):
        self.layer = layer
        self.rule = rule
        self.l2 = l2
        self.table = layer.table
        size, width = self.table.shape
        self.slots = {
            name: _state((size, slot_width), initial, name=f"{layer.name}_{name}")
            for name, (slot_width, initial) in rule.slots(width).items()
        }
        self.last = None  # the step at which a row was last in a batch; 0: never
        if rule.decays or l2:
            self.last = _state((size, 1), 0, "int32", f"{layer.name}_last")
        # Where equal ids meet: room for one position per row, without any meaning between steps.
        self.owner = _state((size,), 0, "int32", f"{layer.name}_owner")

    @property
    def saved(self):
        """Variables that a checkpoint must hold beside the table, by name."""
        return self.slots | ({} if self.last is None else {"last": self.last})

    @property
    def variables(self):
        """All variables that a step changes."""
        return [self.table, *self.saved.values(), self.owner]

    def rows(self, ids, step, settled, learning_rate):
        """Returns rows `(..., D)` for ids `(...)`, settled up to the step before `step`."""
        rows = take(self.table, ids)
        if not self.rule.decays:
            return rows
        flat = ops.reshape(ids, (-1,))
        rows = ops.reshape(rows, (-1, rows.shape[-1]))
        rows = self._settle(rows, self._slots_of(flat), step, settled, learning_rate)
        return ops.reshape(rows, (*ops.shape(ids), rows.shape[-1]))

    def _slots_of(self, ids):
        return {name: take(variable, ids) for name, variable in self.saved.items()}

    def _settle(self, rows, slots, step, settled, learning_rate):
        """Settles rows of which the steps up to `settled` were made up for before."""
        last = ops.cast(slots["last"], "float32")
        since = ops.maximum(settled - last, 0.0)
        until = ops.maximum(step - 1 - last, since)
        return self.rule.settle(rows, slots, last, learning_rate, since, until)

    def summed(self, ids, gradient, present):
        """Sums the gradients `(n, D)` of equal ids `(n,)`; see `combined` of the backend."""
        return combined(self.owner, ids, gradient, present)

    def update(self, ids, gradient, present, keep, step, settled, learning_rate):
        """Writes new rows and slots.

        Args:
            ids: `(n,)`; those that occur several times have the same gradient each time.
            gradient: `(n, D)`, summed.
            present: `(n,)`, False for padding, whose row stays what it is.
            keep: `(n,)`, one position of each id; see `write` of the backend.
            step: scalar, from 1.
            settled: scalar, step up to which all rows were settled.
            learning_rate: scalar.
        """
        old, slots = take(self.table, ids), self._slots_of(ids)
        rows, gap = old, 1.0
        if self.last is not None:
            gap = step - ops.cast(slots["last"], "float32")
            if self.rule.decays:
                rows = self._settle(rows, slots, step, settled, learning_rate)
        if self.l2:
            gradient = gradient + self.l2 * gap * rows
        rows, new = self.rule.update(rows, gradient, slots, step, learning_rate, gap)
        if self.last is not None:
            new["last"] = ops.zeros_like(slots["last"]) + ops.cast(step, "int32")
        present = ops.expand_dims(present, -1)
        write(self.table, ids, ops.where(present, rows, old), keep)
        for name, variable in self.saved.items():
            write(variable, ids, ops.where(present, new[name], slots[name]), keep)

    def settle(self, step, settled, learning_rate):
        """Gives all rows the moves they are owed after `step` steps, in place, bit by bit."""
        if self.rule.decays:

            def chunk(rows, *slots):
                slots = dict(zip(self.saved, slots, strict=True))
                return self._settle(rows, slots, step + 1, settled, learning_rate)

            settled_in_place(chunk, self.table, list(self.saved.values()))


def _state(shape, initial, dtype="float32", name=None):
    start = keras.initializers.Constant(initial)
    return keras.Variable(start, shape=shape, dtype=dtype, trainable=False, name=name)


class Summed(NamedTuple):
    """What `combined` returns: gradients of a table, of which `keep` has one for each id."""

    ids: Any
    gradient: Any
    present: Any
    keep: Any

    def times(self, factor):
        return self._replace(gradient=self.gradient * factor)

    def power(self):
        """`Σ g²` over distinct ids."""
        return ops.sum(ops.sum(ops.square(self.gradient), axis=-1) * ops.cast(self.keep, "float32"))


class Tables:
    """All tables of a model that are trained by rows."""

    def __init__(self, tables, optimizer):
        self.tables = tables
        self.optimizer = optimizer
        self.settled = keras.Variable(0.0, dtype="float32", trainable=False, name="settled")

    @property
    def variables(self):
        return [self.settled, *(v for table in self.tables for v in table.variables)]

    @property
    def saved(self):
        """`{name: variable}` of what a checkpoint must hold beside the tables."""
        found = {"settled": self.settled}
        for at, table in enumerate(self.tables):
            found |= {f"{at}_{name}": variable for name, variable in table.saved.items()}
        return found

    def holds(self, variable):
        """Whether a variable is a table trained by rows."""
        return any(table.table is variable for table in self.tables)

    @property
    def _dense(self):
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    def now(self):
        """Returns, per table, the coming step, the step up to which rows are settled, the rate."""
        step = ops.cast(self.optimizer.iterations, "float32") + 1
        settled = ops.convert_to_tensor(self.settled)
        shared = ops.cast(self.optimizer.learning_rate, "float32")
        rates = [table.rule.learning_rate for table in self.tables]
        return [(step, settled, shared if rate is None else rate) for rate in rates]

    @contextlib.contextmanager
    def tapped(self, hand_out, now):
        """Taps all lookups made inside.

        Args:
            hand_out: function of the rows of the `i`-th lookup `(rows, i)`; returns what the layer
                shall work with.
            now: what `now()` gave before the step.

        Yields:
            List of `(table, ids, present)`, one for each lookup, in the order they are made.
        """
        lookups = []

        def tap(table, now):
            def looked_up(ids, present):
                lookups.append((table, ids, present))
                return hand_out(table.rows(ids, *now), len(lookups) - 1)

            return looked_up

        for table, at in zip(self.tables, now, strict=True):
            object.__setattr__(table.layer, "tap", tap(table, at))
        try:
            yield lookups
        finally:
            for table in self.tables:
                object.__setattr__(table.layer, "tap", None)

    def apply(self, lookups, row_gradients, gradients, now):
        """Updates the rows that were looked up.

        Args:
            lookups: list of `(table, ids, present)`.
            row_gradients: gradient with respect to the rows of each.
            gradients: those of the dense weights, which take part in clipping.
            now: what `now()` gave before the step.

        Returns:
            The dense gradients as the optimizer shall get them.
        """
        scale, finite = None, None
        sums = [self._summed(table, lookups, row_gradients) for table in self.tables]
        if self._dense is not self.optimizer:
            scale = ops.cast(self.optimizer.dynamic_scale, "float32")
            sums = [found and found.times(1 / scale) for found in sums]
            finite = _all_finite([*gradients, *(found.gradient for found in sums if found)])
            # An overflow anywhere skips the step everywhere: the optimizer looks at its own only.
            gradients = [g if g is None else ops.where(finite, g, float("nan")) for g in gradients]
        sums, gradients = self._clipped(sums, gradients, scale)
        for table, found, at in zip(self.tables, sums, now, strict=True):
            if found is None:
                continue
            present = found.present
            if finite is not None:
                present = ops.logical_and(present, finite)
            table.update(found.ids, found.gradient, present, found.keep, *at)
        return gradients

    def _summed(self, table, lookups, row_gradients):
        """The gradients of all lookups of a table, summed by id; None if there was no lookup."""
        parts = [
            (ops.reshape(ids, (-1,)), ops.reshape(g, (-1, g.shape[-1])), ops.reshape(there, (-1,)))
            for (of, ids, there), g in zip(lookups, row_gradients, strict=True)
            if of is table and g is not None
        ]
        if not parts:
            return None
        joined = [p[0] if len(p) == 1 else ops.concatenate(p) for p in zip(*parts, strict=True)]
        return Summed(*table.summed(*joined))

    def _clipped(self, sums, gradients, scale):
        """Clips rows as the optimizer clips dense weights; a global norm is that of both."""
        optimizer = self._dense
        if optimizer.global_clipnorm:
            unit = 1.0 if scale is None else 1 / scale
            norms = [_power(ops.cast(g, "float32") * unit) for g in gradients if g is not None]
            power = sum(norms) + sum(found.power() for found in sums if found)
            shrink = _shrink(power, optimizer.global_clipnorm)
            gradients = [g if g is None else g * ops.cast(shrink, g.dtype) for g in gradients]
            sums = [found and found.times(shrink) for found in sums]
        elif optimizer.clipnorm:
            sums = [
                found and found.times(_shrink(found.power(), optimizer.clipnorm)) for found in sums
            ]
        elif optimizer.clipvalue:
            limit = optimizer.clipvalue
            sums = [
                found and found._replace(gradient=ops.clip(found.gradient, -limit, limit))
                for found in sums
            ]
        return sums, gradients

    def settle(self):
        """Gives all rows the moves they are owed; nothing to do if that was done before."""
        steps = float(ops.convert_to_numpy(self.optimizer.iterations))
        before = float(ops.convert_to_numpy(self.settled))
        if steps == before:
            return
        for table, (_, _, rate) in zip(self.tables, self.now(), strict=True):
            table.settle(steps, before, float(ops.convert_to_numpy(rate)))
        self.settled.assign(steps)


def _all_finite(tensors):
    return ops.all(ops.stack([ops.all(ops.isfinite(t)) for t in tensors if t is not None]))


def _power(tensor):
    return ops.sum(ops.square(tensor))


def _shrink(power, limit):
    return ops.minimum(1.0, limit * ops.rsqrt(ops.maximum(power, 1e-30)))


def tables_of(layers, optimizer, choice, l2):
    """Returns the `Tables` of layers that are to be trained by rows; None if there are none.

    Args:
        layers: built `FeatureEmbedding`s.
        optimizer: the model's.
        choice: `table_optimizer` of `CTRModel.compile`.
        l2: `table_l2` of it.
    """
    layers = [layer for layer in layers if getattr(layer, "table", None) is not None]
    if choice == "auto":
        layers = [layer for layer in layers if layer.table.shape[0] > DENSE_UP_TO]
    if choice == "dense" or not layers or optimizer is None:
        return None
    rule = rules.like(optimizer) if choice in ("auto", "rows") else rules.get(choice)
    if rule is None:
        raise ValueError(
            f"{type(optimizer).__name__}, with its settings, has no form that updates only the "
            "rows of a batch. Choose one for the tables with `compile(table_optimizer=...)`: one "
            f"of {sorted(rules.RULES)} or an object of `keras_ctr.training`; or "
            "`table_optimizer='dense'`, with which every step rewrites whole tables "
            f"(here of {max(layer.table.shape[0] for layer in layers):,} rows)."
        )
    return Tables([Table(layer, rule, l2) for layer in layers], optimizer)
