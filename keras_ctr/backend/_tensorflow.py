"""Row updates on TensorFlow: on resource variables, compiled by XLA or not."""

import keras
import tensorflow as tf

from keras_ctr.backend import internals

DENSE_UP_TO = 100_000  # rows; where `rows` and `dense` cross in tests/bench/tables.py, on 2 cores
SHAPES_ARE_STATIC = False
SHAPES_ARE_COMPILED = True
CHUNK = 1 << 16  # rows settled at a time
PART = 1 << 13  # rows read or updated at a time, where XLA compiles the step


def distinct(owner, ids, present, max_distinct):
    at = tf.range(tf.shape(ids)[0])
    if max_distinct is None:
        owner.value.scatter_update(tf.IndexedSlices(at, ids))
        first = tf.gather(owner.value, ids)  # for each position, the one that stands for its id
        standing = tf.equal(first, at)
        rank = tf.cumsum(tf.cast(standing, "int32")) - 1
        ids, present = tf.boolean_mask(ids, standing), tf.boolean_mask(present, standing)
        return ids, tf.gather(rank, first), None, present[:, None]
    size = owner.shape[0]
    part = tf.minimum(PART, max_distinct)
    length = -(-max_distinct // part) * part
    owner.value.scatter_update(tf.IndexedSlices(at, ids))  # XLA drops what is out of range
    first = tf.gather(owner.value, ids)
    standing = tf.equal(first, at) & (ids < size)
    rank = tf.cumsum(tf.cast(standing, "int32")) - 1
    to = tf.where(standing, rank, length)[:, None]
    distinct = tf.tensor_scatter_nd_update(tf.fill([length], size), to, ids)
    present = tf.tensor_scatter_nd_update(tf.fill([length], False), to, present)
    return distinct, tf.gather(rank, first), rank[-1] + 1, present[:, None]


def _take(variables, ids):
    return [tf.gather(v.value, ids) for v in variables]  # reads the rows only, not the variable


def _by_parts(index, step, *loop):
    """Runs `step(start, part, *loop)` over the parts of an index that hold a distinct id."""
    part = tf.minimum(PART, tf.shape(index.ids)[0])

    def body(start, *loop):
        return start + part, *step(start, part, *loop)

    return tf.while_loop(lambda start, *_: start < index.count, body, [0, *loop])[1:]


def read_rows(function, index, variables):
    if index.count is None:
        stored = _take(variables, index.ids)
        return function(*stored), stored

    def step(start, part, rows):
        ids = tf.slice(index.ids, [start], [part])
        read = function(*_take(variables, ids))
        return [keras.ops.slice_update(rows, [start, 0], read)]

    shape = tf.stack([tf.shape(index.ids)[0], variables[0].shape[1]])
    (rows,) = _by_parts(index, step, tf.zeros(shape, variables[0].dtype))
    return tf.stop_gradient(tf.ensure_shape(rows, [None, variables[0].shape[1]])), None


def write_rows(function, index, variables, stored, others, given):
    def write(ids, stored, here):
        rows = function(stored, _take(others, ids), here)
        for variable, new in zip(variables, rows, strict=True):
            new = tf.cast(new, variable.dtype)
            variable.value.scatter_update(tf.IndexedSlices(new, ids))

    if index.count is None:
        write(index.ids, stored, given)
        return

    def step(start, part):
        here = [tf.slice(x, [start, 0], [part, x.shape[1]]) for x in given]
        ids = tf.slice(index.ids, [start], [part])
        write(ids, _take(variables, ids), here)
        return []

    _by_parts(index, step)


def settler(function):
    @tf.function
    def chunk(table, state, start, stop, *now):
        # By row numbers: a slice of a variable would read all of it, and copy it at the next write.
        ids = tf.range(start, stop)
        rows = function(tf.gather(table, ids), tf.gather(state, ids), *now)
        table.scatter_update(tf.IndexedSlices(rows, ids))

    def settle(table, state, *now):
        size = table.shape[0]
        now = [tf.constant(number, "float32") for number in now]
        for start in range(0, size, CHUNK):
            stop = min(start + CHUNK, size)
            chunk(table.value, state.value, tf.constant(start), tf.constant(stop), *now)

    return settle


def caller(model):
    return tf.function(lambda batch: model(batch, training=False), autograph=False)


def traceable(layer):
    return layer.call


class RowTrainer:
    """The training step of a `CTRModel`."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        now, handed_out = self.tables.now(), []
        kept = [(v, tf.identity(v.value)) for v in self.float_state]
        with tf.GradientTape() as tape:

            def hand_out(rows, i):
                tape.watch(rows)
                handed_out.append(rows)
                return rows

            with self.tables.tapped(hand_out, now) as lookups:
                y_pred = self(x, training=True)
            loss = internals.compute_loss(
                self, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        gradients = tape.gradient(scaled, [v.value for v in weights] + handed_out)
        # The gradient of a gather comes as slices, in which an id can stand several times. Keras's
        # optimizers would square each of those alone; made dense, they are summed first.
        gradients = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
        allowed = self.allowed(loss, gradients, x, y)
        dense, of_rows = gradients[: len(weights)], gradients[len(weights) :]
        dense = self.tables.apply(lookups, of_rows, dense, now, allowed)

        def apply():
            self.optimizer.apply(dense, weights)
            return True

        if tf.distribute.has_strategy():  # where an optimizer cannot stand in a branch
            apply()
        else:
            tf.cond(allowed, apply, lambda: False)
        for variable, old in kept:
            variable.assign(tf.where(allowed, variable.value, old))
        loss = tf.where(allowed, loss, float("nan"))
        internals.track_loss(self, loss, tf.shape(y_pred)[0])
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
