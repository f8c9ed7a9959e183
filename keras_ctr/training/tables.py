"""Row updates: a training step that reads and writes only the table rows of its batch.

The table of a `FeatureEmbedding` and its slots are state that Keras's optimizer does not see. While
a step runs, every lookup is tapped: the tap finds the distinct ids, reads their rows once, and the
step differentiates with respect to those. Their gradients are then sums over equal ids; a
`TableOptimizer` makes new rows of them, which are written in place.
"""

import contextlib
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ctr.backend import DENSE_UP_TO, distinct, read_rows, settler, write_rows
from keras_ctr.backend.gather import gather
from keras_ctr.training import rules
from keras_ctr.training.guard import all_finite
from keras_ctr.training.rounding import stochastic

CHOICES = ("auto", "rows", "dense")


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
    """

    def __init__(self, layer, rule, l2=0.0):
        self.layer = layer
        self.rule = rule
        self.l2 = l2
        self.table = layer.table
        self.held = None
        self._settler = None  # made once: it is compiled
        size, width = self.table.shape
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

    def hold(self, strength):
        """Adds `strength_j·w_j` `(rows,)` to the gradient of each row `j` when it is in a batch."""
        self.held = keras.Variable(
            strength[:, None], dtype="float32", trainable=False, autocast=False, name="held"
        )

    @property
    def _variables(self):
        return [self.table] if self.state is None else [self.table, self.state]

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
            return stochastic(moved, self.table.dtype, step), *columns

        others = [] if self.held is None else [self.held]
        given = read.rows, gradient, read.index.present
        write_rows(new, read.index, self._variables, read.stored, others, given)

    def settle(self, step, settled, learning_rate):
        """Gives all rows the moves they are owed after `step` steps, in place."""
        if self.rule.decays:
            if self._settler is None:
                self._settler = settler(
                    lambda rows, state, step, *now: stochastic(
                        self.settled(rows, state, step, *now), self.table.dtype, step
                    )
                )
            self._settler(self.table, self.state, step + 1, settled, learning_rate)


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
            size = table.table.shape[0]
            if _numbering(table) not in self.owners:
                self.owners[_numbering(table)] = keras.Variable(
                    "zeros", shape=(size,), dtype="int32", trainable=False, name="owner"
                )

    @property
    def variables(self):
        """All variables that a step reads or changes."""
        if not self.tables:
            return []
        others = [v for table in self.tables for v in (table.state, table.held) if v is not None]
        tables = [table.table for table in self.tables]
        return [self.step_settled, *tables, *others, *self.owners.values()]

    @property
    def saved(self):
        """`{name: variable}` of what a checkpoint must hold beside the tables."""
        if not self.tables:
            return {}
        found = {
            f"state_{at}": table.state
            for at, table in enumerate(self.tables)
            if table.state is not None
        }
        return {"settled": self.step_settled, **found}

    def holds(self, variable):
        """Whether a variable is a table trained by rows."""
        return any(table.table is variable for table in self.tables)

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
                    most = _most(ids, table.layer.sizes_of(columns)) if self.static else None
                    found[key] = columns, self._index(table, ids, present, most)
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

    def _index(self, table, ids, present, most):
        owner = self.owners[_numbering(table)]
        flat = ops.reshape(ids, (-1,)), ops.reshape(present, (-1,))
        return Index(*distinct(owner, *flat, most))

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


def _most(ids, widths):
    """How many rows a batch can have at most, which bounds the arrays that XLA makes room for.

    Args:
        ids: `(B, positions)`.
        widths: what `FeatureEmbedding.sizes_of` says of the columns of the ids.
    """
    batch = ops.shape(ids)[0]
    smaller = min if isinstance(batch, int) else ops.minimum
    return sum(smaller(batch * positions, size) for size, positions in widths)


def _numbering(table):
    return (table.table.shape[0], *table.layer.offsets)


def _power(tensor):
    return ops.sum(ops.square(tensor))


def _shrink(power, limit):
    return ops.minimum(1.0, limit * ops.rsqrt(ops.maximum(power, 1e-30)))


def tables_of(layers, optimizer, choice, l2, static):
    """Returns the `Tables` of the layers that are to be trained by rows.

    Args:
        layers: built `FeatureEmbedding`s.
        optimizer: the model's.
        choice: `table_optimizer` of `CTRModel.compile`.
        l2: `table_l2` of it.
        static: whether XLA compiles the step.

    Raises:
        ValueError: the optimizer has no row form; or tables of bfloat16 are to be trained densely.
    """
    layers = [layer for layer in layers if getattr(layer, "table", None) is not None]
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
    return Tables([Table(layer, rule, l2) for layer in layers], optimizer, static)
