"""Row updates on JAX: inside the jitted step, whose state Keras donates."""

import functools

import jax
import jax.numpy as jnp
import keras

DENSE_UP_TO = 800_000  # rows; where `rows` and `dense` cross in tests/bench/tables.py, on one core
CHUNK = 1 << 16  # rows settled at a time


def take(variable, ids):
    return jnp.take(keras.ops.convert_to_tensor(variable), ids, axis=0, mode="clip")


def distinct(owner, ids, present, static):
    at = jnp.arange(ids.shape[0], dtype="int32")
    owners = keras.ops.convert_to_tensor(owner).at[ids].set(at)
    owner.assign(owners)
    where = owners[ids]  # for each position, the one that stands for its id
    return ids, where, where == at, present[:, None]


def write(variable, index, rows):
    table = keras.ops.convert_to_tensor(variable)
    ids = jnp.where(index.keep, index.ids, table.shape[0])  # out of range: dropped
    variable.assign(table.at[ids].set(rows.astype(table.dtype), mode="drop"))


def settled_in_place(function, table, state):
    size = table.shape[0]
    length = min(CHUNK, size)

    @functools.partial(jax.jit, donate_argnums=0)
    def settle(rows, state):
        def chunk(at, rows):
            # The last chunk begins early; what it has in common with the one before is done once.
            start = jnp.minimum(at * length, size - length)
            old, kept = (
                jax.lax.dynamic_slice_in_dim(value, start, length) for value in (rows, state)
            )
            fresh = (start + jnp.arange(length) >= at * length)[:, None]
            new = jnp.where(fresh, function(old, kept), old)
            return jax.lax.dynamic_update_slice_in_dim(rows, new, start, 0)

        return jax.lax.fori_loop(0, -(-size // length), chunk, rows)

    table.assign(settle(table.value, state.value))


class RowTrainer:
    """The training step of a model some of whose tables are trained by rows."""

    def train_step(self, state, data):
        if self.tables is None:
            return super().train_step(state, data)
        trainable, other, optimizer, metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        tables = self.tables
        mapping = [
            *zip(self.non_trainable_variables, other, strict=True),
            *zip(self.optimizer.variables, optimizer, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping):
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

        zeros = [jnp.zeros(rows.shape, rows.dtype) for rows in jax.eval_shape(shapes)]
        of = []  # the table of each lookup: no array, so it cannot be returned

        def with_deltas(trainable, deltas):
            loss, found, lookups = loss_of(trainable, lambda rows, i: rows + deltas[i])
            of[:] = [table for table, _ in lookups]
            return loss, (found, [read for _, read in lookups])

        (_, (found, reads)), (gradients, row_gradients) = jax.value_and_grad(
            with_deltas, argnums=(0, 1), has_aux=True
        )(trainable, zeros)
        unscaled_loss, y_pred, other, metrics = found

        mapping = [
            *zip(self.non_trainable_variables, other, strict=True),
            *zip(self.optimizer.variables, optimizer, strict=True),
        ]
        lookups = list(zip(of, reads, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            gradients = tables.apply(lookups, row_gradients, gradients, now)
        other = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        logs, metrics = self._update_metrics_variables(
            metrics, unscaled_loss, x, y, y_pred, sample_weight
        )
        return logs, (trainable, other, optimizer, metrics)
