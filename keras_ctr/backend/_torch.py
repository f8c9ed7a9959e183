"""Row updates on PyTorch: eager, so that only distinct ids are worked on."""

import keras
import torch

from keras_ctr.backend import internals

DENSE_UP_TO = 50_000  # rows; where `rows` and `dense` cross in tests/bench/tables.py, on 2 cores
SHAPES_ARE_STATIC = False
SHAPES_ARE_COMPILED = False
CHUNK = 1 << 16  # rows settled at a time


def distinct(owner, ids, present, max_distinct):
    at = torch.arange(len(ids), dtype=torch.int32, device=ids.device)
    owner = owner.value.detach()
    owner.scatter_(0, ids.long(), at)  # indexing does the same, several times slower
    first = owner.index_select(0, ids)  # for each position, the one that stands for its id
    standing = first == at
    rank = torch.cumsum(standing, 0, dtype=torch.int32) - 1
    return ids[standing], rank.index_select(0, first), None, present[standing, None]


def _take(variables, ids):
    return [torch.nn.functional.embedding(ids, v.value.detach()) for v in variables]


def read_rows(function, index, variables):
    stored = _take(variables, index.ids)
    return function(*stored), stored


def write_rows(function, index, variables, stored, others, given):
    rows = function(stored, _take(others, index.ids), given)
    for variable, new in zip(variables, rows, strict=True):
        table = variable.value.detach()
        table.index_copy_(0, index.ids.long(), new.to(table.dtype))


def settler(function):
    def settle(table, state, *now):
        with torch.no_grad():
            chunks = (variable.value.detach().split(CHUNK) for variable in (table, state))
            for rows, kept in zip(*chunks, strict=True):
                rows.copy_(function(rows, kept, *now))

    return settle


def _waits(tensor):
    """Whether reading a tensor on the host makes the host wait for a device."""
    return tensor.device.type != "cpu"


def caller(model):
    def run(batch):
        with torch.no_grad():
            return model(
                {key: keras.ops.convert_to_tensor(array) for key, array in batch.items()},
                training=False,
            )

    return run


def traceable(layer):
    """Keras traces on a device without memory, where its weights do not follow the dtype policy."""

    def call(*args, **kwargs):
        tensors = [a for a in keras.tree.flatten((args, kwargs)) if isinstance(a, torch.Tensor)]
        stubs = []
        if all(tensor.is_meta for tensor in tensors):
            floats = [v for v in layer.variables if keras.backend.is_float_dtype(v.dtype)]
            stubs = [
                (v, torch.empty(tuple(v.shape), dtype=getattr(torch, v.dtype), device="meta"))
                for v in floats
            ]
        with keras.StatelessScope(state_mapping=stubs):
            return layer.call(*args, **kwargs)

    return call


class RowTrainer:
    """The training step of a `CTRModel`."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        handed_out = []

        def hand_out(rows, i):
            rows = rows.detach().requires_grad_()  # what the step keeps is without a history
            handed_out.append(rows)
            return rows

        with torch.no_grad():
            now = self.tables.now()
            kept = _copies(self.float_state)
        with self.tables.tapped(hand_out, now) as lookups:
            y_pred = self(x, training=True)
        self.zero_grad()
        loss = internals.compute_loss(
            self, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
        )
        self.optimizer.scale_loss(loss).backward()
        weights = self.trainable_variables
        with torch.no_grad():
            of_rows = [rows.grad for rows in handed_out]
            gradients = [variable.value.grad for variable in weights]
            allowed = self.allowed(loss, [*gradients, *of_rows], x, y)
            gradients = self.tables.apply(lookups, of_rows, gradients, now, allowed)
            if _waits(allowed):
                kept += _copies([*weights, *self.optimizer.variables])
                self.optimizer.apply(gradients, weights)
            elif allowed:
                self.optimizer.apply(gradients, weights)
            if _waits(allowed) or not allowed:
                for variable, old in kept:
                    variable.value.copy_(torch.where(allowed, variable.value, old))
            loss = torch.where(allowed, loss, torch.nan)
        internals.track_loss(self, loss, len(y_pred))
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _copies(variables):
    return [(variable, variable.value.detach().clone()) for variable in variables]
