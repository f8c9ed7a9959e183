"""Row updates: a training step that reads and writes only the table rows of its batch.

The table of a `FeatureEmbedding` and its slots are state that Keras's optimizer does not see. While
a step runs, every lookup is tapped: the tap finds the distinct ids, reads their rows once, and the
step differentiates with respect to those. Their gradients are then sums over equal ids; a
`TableOptimizer` makes new rows of them, which are written in place.
"""

import contextlib

import keras
from keras import ops

from keras_ctr.backend import DENSE_UP_TO, distinct
from keras_ctr.backend.gather import gather
from keras_ctr.training import rules
from keras_ctr.training.guard import all_finite
from keras_ctr.training.table import Index, Table

CHOICES = ("auto", "rows", "dense")


class Tables:
    """All tables of a model that are trained by rows."""

    def __init__(self, tables, optimizer, static):
        self.tables = tables
        self.static = static
        self.optimizer = optimizer
        self.step_settled = keras.Variable(
            0.0, dtype="float32", trainable=False, autocast=False, name="settled"
        )
        # Where equal ids meet: for each row, room for a position, of no meaning between steps.
        # Layers that number their rows alike share it, and what it finds.
        self.owners = {}
        for table in tables:
            size = table.weight.shape[0]
            if _numbering(table) not in self.owners:
                self.owners[_numbering(table)] = keras.Variable(
                    "zeros", shape=(size,), dtype="int32", trainable=False, name="owner"
                )

    @property
    def variables(self):
        """All variables that a step reads or changes."""
        if not self.tables:
            return []
        others = [
            v for table in self.tables for v in (table.state, table.penalties) if v is not None
        ]
        tables = [table.weight for table in self.tables]
        return [self.step_settled, *tables, *others, *self.owners.values()]

    @property
    def saved(self):
        """`{name: variable}` of what a checkpoint must hold beside the tables."""
        if not self.tables:
            return {}
        found = {
            f"state_{table.number}": table.state for table in self.tables if table.state is not None
        }
        return {"settled": self.step_settled, **found}

    def holds(self, variable):
        """Whether a variable is a table trained by rows."""
        return any(table.weight is variable for table in self.tables)

    @property
    def _dense_optimizer(self):
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    def now(self):
        """Returns, per table, the coming step, the step up to which rows are settled, the rate."""
        step = ops.cast(self.optimizer.iterations, "float32") + 1
        settled = ops.convert_to_tensor(self.step_settled)
        shared = ops.cast(self.optimizer.learning_rate, "float32")
        rates = [table.rule.learning_rate for table in self.tables]
        return [(step, settled, shared if rate is None else rate) for rate in rates]

    @contextlib.contextmanager
    def tapped(self, hand_out, now):
        """Taps all lookups made inside.

        Args:
            hand_out: function `(rows, i)` of the distinct rows of the `i`-th lookup; returns what
                the step shall work with.
            now: what `now()` gave before the step.

        Yields:
            List of `(table, Read)`, one for each lookup, in the order in which they are made.
        """
        lookups, found = [], {}

        def tap(table, now):
            def looked_up(columns, ids, present):
                # Two layers that number alike and see the same arrays find the same.
                key = (_numbering(table), *map(id, columns))
                if key not in found:
                    sizes = table.layer.sizes_of(columns)
                    max_distinct = _max_distinct(ids, sizes) if self.static else None
                    found[key] = columns, self._index(table, ids, present, max_distinct)
                index = found[key][1]
                read = table.read(index, *now)
                lookups.append((table, read))
                rows = hand_out(read.rows, len(lookups) - 1)
                rows = gather(rows, index.where)
                return ops.reshape(rows, (-1, ids.shape[1], rows.shape[-1]))

            return looked_up

        for table, at in zip(self.tables, now, strict=True):
            object.__setattr__(table.layer, "tap", tap(table, at))
        try:
            yield lookups
        finally:
            for table in self.tables:
                object.__setattr__(table.layer, "tap", None)

    def _index(self, table, ids, present, max_distinct):
        owner = self.owners[_numbering(table)]
        flat = ops.reshape(ids, (-1,)), ops.reshape(present, (-1,))
        return Index(*distinct(owner, *flat, max_distinct))

    def apply(self, lookups, row_gradients, gradients, now, allowed):
        """Updates the rows that were looked up.

        Args:
            lookups: list of `(table, Read)`.
            row_gradients: gradient with respect to the distinct rows of each.
            gradients: those of the dense weights, which take part in clipping.
            now: what `now()` gave before the step.
            allowed: scalar, whether the step is to have an effect.

        Returns:
            The dense gradients as the optimizer shall get them.
        """
        reads, sums = [], []
        for table, at in zip(self.tables, now, strict=True):
            read, total = self._summed(table, lookups, row_gradients, at)
            reads.append(read)
            sums.append(total)
        scale = None
        if self._dense_optimizer is not self.optimizer:
            scale = ops.cast(self.optimizer.dynamic_scale, "float32")
            sums = [g if g is None else g / scale for g in sums]
            finite = all_finite([*gradients, *sums])
            allowed = ops.logical_and(allowed, finite)
            # An overflow anywhere skips the step everywhere: the optimizer looks at its own only.
            gradients = [g if g is None else ops.where(finite, g, float("nan")) for g in gradients]
        sums, gradients = self._clipped(sums, gradients, scale)
        for table, read, total, at in zip(self.tables, reads, sums, now, strict=True):
            if read is not None:
                table.update(read, total, allowed, *at)
        return gradients

    def _summed(self, table, lookups, row_gradients, now):
        """What was read of a table and its gradient; None, None if nothing was."""
        parts = [
            (read, gradient)
            for (of, read), gradient in zip(lookups, row_gradients, strict=True)
            if of is table and gradient is not None
        ]
        if not parts:
            return None, None
        if len(parts) == 1:
            return parts[0]
        ids = ops.concatenate([read.index.ids for read, _ in parts])
        present = ops.concatenate([read.index.present[:, 0] for read, _ in parts])
        index = self._index(table, ids, present, ops.shape(ids)[0] if self.static else None)
        total = ops.segment_sum(
            ops.concatenate([gradient for _, gradient in parts]),
            index.where,
            num_segments=ops.shape(index.ids)[0],
        )
        return table.read(index, *now), total

    def _clipped(self, sums, gradients, scale):
        """Clips rows as the optimizer clips dense weights; a global norm is that of both."""
        optimizer = self._dense_optimizer
        if optimizer.global_clipnorm:
            unit = 1.0 if scale is None else 1 / scale
            norms = [_power(ops.cast(g, "float32") * unit) for g in gradients if g is not None]
            power = sum(norms) + sum(_power(g) for g in sums if g is not None)
            shrink = _shrink(power, optimizer.global_clipnorm)
            gradients = [g if g is None else g * ops.cast(shrink, g.dtype) for g in gradients]
            sums = [g if g is None else g * shrink for g in sums]
        elif optimizer.clipnorm:
            limit = optimizer.clipnorm
            sums = [g if g is None else g * _shrink(_power(g), limit) for g in sums]
        elif optimizer.clipvalue:
            limit = optimizer.clipvalue
            sums = [g if g is None else ops.clip(g, -limit, limit) for g in sums]
        return sums, gradients

    def settle(self):
        """Gives all rows the moves they are owed; nothing to do if that was done before."""
        if not self.tables:
            return
        steps = float(ops.convert_to_numpy(self.optimizer.iterations))
        before = float(ops.convert_to_numpy(self.step_settled))
        if steps == before:
            return
        for table, (_, _, rate) in zip(self.tables, self.now(), strict=True):
            table.settle(steps, before, float(ops.convert_to_numpy(rate)))
        self.step_settled.assign(steps)


def _max_distinct(ids, widths):
    """How many rows a batch can have at most, which bounds the arrays that XLA makes room for.

    Args:
        ids: `(B, positions)`.
        widths: what `FeatureEmbedding.sizes_of` says of the columns of the ids.
    """
    batch = ops.shape(ids)[0]
    smaller = min if isinstance(batch, int) else ops.minimum
    return sum(smaller(batch * positions, size) for size, positions in widths)


def _numbering(table):
    return (table.weight.shape[0], *table.layer.offsets)


def _power(tensor):
    return ops.sum(ops.square(tensor))


def _shrink(power, limit):
    return ops.minimum(1.0, limit * ops.rsqrt(ops.maximum(power, 1e-30)))


def has_trained_table(layer):
    """Whether a `FeatureEmbedding` has a table, and that is not frozen by `trainable = False`."""
    table = getattr(layer, "table", None)
    return any(table is weight for weight in layer.trainable_weights)


def tables_of(layers, optimizer, choice, l2, static):
    """Returns the `Tables` of the layers that are to be trained by rows.

    Args:
        layers: built `FeatureEmbedding`s; frozen ones are left out.
        optimizer: the model's.
        choice: `table_optimizer` of `CTRModel.compile`.
        l2: `table_l2` of it.
        static: whether XLA compiles the step.

    Raises:
        ValueError: the optimizer has no row form; or tables of bfloat16 are to be trained densely.
    """
    number = {layer: at for at, layer in enumerate(layers)}
    layers = [layer for layer in layers if has_trained_table(layer)]
    narrow = [layer for layer in layers if layer.table.dtype != "float32"]
    if choice == "auto":
        layers = [
            layer for layer in layers if layer.table.shape[0] > DENSE_UP_TO or layer in narrow
        ]
    if choice == "dense" and narrow:
        raise ValueError(
            "Tables of bfloat16 are trained by rows: dense training would round to the nearest, "
            "and lose small steps. Received: table_optimizer='dense' with table_dtype="
            f"{narrow[0].table.dtype!r}."
        )
    if choice == "dense" or not layers or optimizer is None:
        return Tables([], optimizer, static)
    if getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        raise ValueError(
            "Moving averages of weights (`use_ema`) are kept of whole tables: use them with "
            "`compile(table_optimizer='dense')`. Received: use_ema=True with a table of "
            f"{max(layer.table.shape[0] for layer in layers):,} rows that is trained by rows."
        )
    rule = rules.like(optimizer) if choice in ("auto", "rows") else rules.get(choice)
    if rule is None:
        raise ValueError(
            f"{type(optimizer).__name__}, with its settings, has no form that updates only the "
            "rows of a batch. Choose one for the tables with `compile(table_optimizer=...)`: one "
            f"of {sorted(rules.RULES)} or an object of `keras_ctr.training`; or "
            "`table_optimizer='dense'`, with which every step rewrites whole tables. "
            f"Received: a table of {max(layer.table.shape[0] for layer in layers):,} rows."
        )
    return Tables([Table(layer, rule, l2, number[layer]) for layer in layers], optimizer, static)
