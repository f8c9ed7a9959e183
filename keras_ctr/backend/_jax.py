"""Row updates on JAX: inside the jitted step, whose state Keras donates."""

import functools

import jax
import jax.numpy as jnp
import keras

from keras_ctr.backend import internals

DENSE_UP_TO = 200_000  # rows; where `rows` and `dense` cross in tests/bench/tables.py, on 2 cores
SHAPES_ARE_STATIC = True  # gradients are traced
SHAPES_ARE_COMPILED = True
CHUNK = 1 << 16  # rows settled at a time
PART = 1 << 13  # rows read or updated at a time


def distinct(owner, ids, present, max_distinct):
    size, positions = owner.shape[0], ids.shape[0]
    part = min(PART, max_distinct)
    length = -(-max_distinct // part) * part
    at = jnp.arange(positions, dtype="int32")
    owners = keras.ops.convert_to_tensor(owner).at[ids].set(at, mode="drop")
    owner.assign(owners)
    first = owners.at[ids].get(mode="clip")  # for each position, the one that stands for its id
    standing = (first == at) & (ids < size)
    rank = jnp.cumsum(standing, dtype="int32") - 1
    to = jnp.where(standing, rank, length)
    distinct = jnp.full(length, size, "int32").at[to].set(ids, mode="drop")
    present = jnp.zeros(length, bool).at[to].set(present, mode="drop")
    return distinct, rank.at[first].get(mode="clip"), rank[-1] + 1, present[:, None]


def _parts(index):
    """The length of a part of an index, and how many parts hold a distinct id."""
    part = min(PART, index.ids.shape[0])
    return part, (index.count + part - 1) // part


def _take(values, ids):
    return [jnp.take(value, ids, axis=0, mode="clip") for value in values]


def read_rows(function, index, variables):
    values = [keras.ops.convert_to_tensor(variable) for variable in variables]
    part, parts = _parts(index)

    def read(ids):
        return function(*_take(values, ids))

    def chunk(at, rows):
        ids = jax.lax.dynamic_slice_in_dim(index.ids, at * part, part)
        return jax.lax.dynamic_update_slice_in_dim(rows, read(ids), at * part, 0)

    of = jax.eval_shape(read, index.ids)
    return jax.lax.fori_loop(0, parts, chunk, jnp.zeros(of.shape, of.dtype)), None


def write_rows(function, index, variables, stored, others, given):
    others = [keras.ops.convert_to_tensor(variable) for variable in others]
    part, parts = _parts(index)

    def chunk(at, values):
        ids, *here = (
            jax.lax.dynamic_slice_in_dim(value, at * part, part) for value in (index.ids, *given)
        )
        rows = function(_take(values, ids), _take(others, ids), here)
        return [
            value.at[ids].set(new.astype(value.dtype), mode="drop")  # out of range: no row
            for value, new in zip(values, rows, strict=True)
        ]

    values = [keras.ops.convert_to_tensor(variable) for variable in variables]
    for variable, value in zip(variables, jax.lax.fori_loop(0, parts, chunk, values), strict=True):
        variable.assign(value)


def settler(function):
    @functools.partial(jax.jit, donate_argnums=0)
    def settle(rows, state, *now):
        size = rows.shape[0]
        length = min(CHUNK, size)

        def chunk(at, rows):
            # The last chunk begins early; what it has in common with the one before is done once.
            start = jnp.minimum(at * length, size - length)
            old, kept = (
                jax.lax.dynamic_slice_in_dim(value, start, length) for value in (rows, state)
            )
            fresh = (start + jnp.arange(length) >= at * length)[:, None]
            new = jnp.where(fresh, function(old, kept, *now), old)
            return jax.lax.dynamic_update_slice_in_dim(rows, new, start, 0)

        return jax.lax.fori_loop(0, -(-size // length), chunk, rows)

    return lambda table, state, *now: table.assign(settle(table.value, state.value, *now))


@jax.custom_vjp
def _differentiable(rows, stand_in):
    """`rows`, whose gradient goes to `stand_in`, of which nothing is read."""
    return rows


_differentiable.defvjp(
    lambda rows, stand_in: (rows, None),
    lambda _, gradient: (jnp.zeros_like(gradient), gradient),
)


def caller(model):
    @jax.jit
    def call(trainable, others, batch):
        return model.stateless_call(trainable, others, batch, training=False)[0]

    def run(batch):
        lists = (model.trainable_variables, model.non_trainable_variables)
        return call(*([variable.value for variable in each] for each in lists), batch)

    return run


def traceable(layer):
    return layer.call


class RowTrainer:
    """The training step of a `CTRModel`."""

    def train_step(self, state, data):
        trainable, other, optimizer, metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        tables, given = self.tables, other

        def scope_of(other, optimizer):
            mapping = [
                *zip(self.non_trainable_variables, other, strict=True),
                *zip(self.optimizer.variables, optimizer, strict=True),
            ]
            return keras.StatelessScope(state_mapping=mapping)

        with scope_of(other, optimizer):
            now = tables.now()

        def loss_of(trainable, hand_out):
            with tables.tapped(hand_out, now) as lookups:
                loss, found = self.compute_loss_and_updates(
                    trainable,
                    other,
                    metrics,
                    x,
                    y,
                    sample_weight,
                    training=True,
                    optimizer_variables=optimizer,
                )
            return loss, found, lookups

        def shapes():
            """Traces the step once without gradients, to see what is looked up."""
            seen = []
            loss_of(trainable, lambda rows, i: seen.append(rows) or rows)
            return seen

        looked_up = jax.eval_shape(shapes) if tables.tables else []
        stand_ins = [jnp.zeros(rows.shape, rows.dtype) for rows in looked_up]
        of = []  # the table of each lookup: no array, so it cannot be returned

        def with_stand_ins(trainable, stand_ins):
            loss, found, lookups = loss_of(
                trainable, lambda rows, i: _differentiable(rows, stand_ins[i])
            )
            of[:] = [table for table, _ in lookups]
            return loss, (found, [read for _, read in lookups])

        (_, (found, reads)), (gradients, row_gradients) = jax.value_and_grad(
            with_stand_ins, argnums=(0, 1), has_aux=True
        )(trainable, stand_ins)
        loss, y_pred, other, metrics = found

        lookups = list(zip(of, reads, strict=True))
        with scope_of(other, optimizer) as scope:
            allowed = self.allowed(loss, [*gradients, *row_gradients], x, y)
            gradients = tables.apply(lookups, row_gradients, gradients, now, allowed)
            loss = jnp.where(allowed, loss, jnp.nan)
        changed = [scope.get_current_value(variable) for variable in self.non_trainable_variables]

        def chosen(new, old):
            return [jnp.where(allowed, a, b) for a, b in zip(new, old, strict=True)]

        own = len(changed) - len(self.step_variables)  # those of the step have been decided upon
        other = chosen(changed[:own], given[:own]) + changed[own:]
        new, new_optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        logs, metrics = internals.update_metrics(self, metrics, loss, x, y, y_pred, sample_weight)
        return logs, (chosen(new, trainable), other, chosen(new_optimizer, optimizer), metrics)
