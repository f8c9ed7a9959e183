"""Row updates on TensorFlow: on resource variables, compiled by XLA or not."""

import keras
import tensorflow as tf

DENSE_UP_TO = 200_000  # rows; where `rows` and `dense` cross in tests/bench/tables.py, on one core
CHUNK = 1 << 16  # rows settled at a time


def take(variable, ids):
    return tf.gather(variable.value, ids)  # reads the rows only, not the variable


def distinct(owner, ids, present, static):
    at = tf.range(tf.shape(ids)[0])
    owner.value.scatter_update(tf.IndexedSlices(at, ids))
    where = tf.gather(owner.value, ids)  # for each position, the one that stands for its id
    standing = tf.equal(where, at)
    if static:
        return ids, where, standing, present[:, None]
    rank = tf.cumsum(tf.cast(standing, "int32")) - 1
    ids, present = tf.boolean_mask(ids, standing), tf.boolean_mask(present, standing)
    return ids, tf.gather(rank, where), None, present[:, None]


def write(variable, index, rows):
    rows = tf.cast(rows, variable.dtype)
    if index.keep is not None:  # every position writes what stands for its id: equal ids agree
        rows = tf.gather(rows, index.where)
    variable.value.scatter_update(tf.IndexedSlices(rows, index.ids))


def settled_in_place(function, table, state):
    @tf.function
    def settle(start, stop):
        # By row numbers: a slice of a variable would read all of it, and copy it at the next write.
        ids = tf.range(start, stop)
        rows = function(tf.gather(table.value, ids), tf.gather(state.value, ids))
        table.value.scatter_update(tf.IndexedSlices(rows, ids))

    size = table.shape[0]
    for start in range(0, size, CHUNK):
        settle(tf.constant(start), tf.constant(min(start + CHUNK, size)))


class RowTrainer:
    """The training step of a model some of whose tables are trained by rows."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        now, handed_out = self.tables and self.tables.now(), []
        with tf.GradientTape() as tape:

            def hand_out(rows, i):
                tape.watch(rows)
                handed_out.append(rows)
                return rows

            if self.tables is None:
                y_pred = self(x, training=True)
            else:
                with self.tables.tapped(hand_out, now) as lookups:
                    y_pred = self(x, training=True)
            loss = self._compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            self._loss_tracker.update_state(loss, sample_weight=tf.shape(y_pred)[0])
            loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in weights] + handed_out)
        # The gradient of a gather comes as slices, in which an id can stand several times. Keras's
        # optimizers would square each of those alone; made dense, they are summed first.
        gradients = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
        dense, of_rows = gradients[: len(weights)], gradients[len(weights) :]
        if self.tables is not None:
            dense = self.tables.apply(lookups, of_rows, dense, now)
        self.optimizer.apply(dense, weights)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
