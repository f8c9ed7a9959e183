"""`flops`: what a model computes per sample, counted by calling it on tensors that are only shapes.

Nothing is written down per layer. `call` of the model, and of every layer inside, runs on symbolic
tensors (`keras.KerasTensor`) down to single functions of `keras.ops`, which are counted by their
kind and shapes. No backend takes part, so that the figure is the same on all of them.
"""

import dataclasses

import keras

from keras_ctr.features.schema import Schema
from keras_ctr.layers.depth.stack import Stack
from keras_ctr.measure.costs import cost
from keras_ctr.measure.walk import Visitor, leaves, walk
from keras_ctr.zoo import CTRModel


@dataclasses.dataclass(frozen=True)
class Flops:
    """What `flops` returns; `print` shows it as a table.

    Attributes:
        parts: dict with the FLOPs per sample of the model's parts, in call order. The keys are
            names of the model's attributes (`"embed"`, `"interact[0]"`). The residual of a `Stack`
            stands beside the stack's units, as `"stack.residual"`. The last one, `"other"`, is what
            the model's own `call` does.
        per_batch: FLOPs on weights alone, which are spent once per batch, however large it is:
            Sinkhorn's iteration on the matrices of `UniMixing`, for example.
    """

    parts: dict
    per_batch: int

    @property
    def total(self):
        """FLOPs per sample: the sum of all parts."""
        return sum(self.parts.values())

    def __str__(self):
        rows = {**self.parts, "total per sample": self.total, "once per batch": self.per_batch}
        counts = [f"{count:,}" for count in rows.values()]
        name_width, count_width = (max(map(len, column)) for column in (rows, counts))
        return "\n".join(
            f"{name:{name_width}}  {count:>{count_width}}"
            for name, count in zip(rows, counts, strict=True)
        )


def flops(model):
    """Counts the floating-point operations of a model's forward pass per sample, part by part.

    The convention is ours; others count a multiply-add as one, or matrix products alone.

    - A matrix product or an `einsum` counts 2 times the product of the sizes of all its indices: a
      multiplication and an addition each. An `einsum` that sums over nothing counts 1 times.
    - An element-wise function counts 1 per element of its output, whichever it is (`+`, `where`,
      `exp`, `sigmoid`, `gelu`, ...); a reduction 1 per element of its input.
    - Per element: softmax 5, log-sum-exp and variance 4, RMSNorm 4, LayerNorm 7, BatchNorm 2.
    - A step of a loop over time counts as often as the loop is long.
    - Movement counts 0: reshape, transpose, gather, slice, concatenate, pad, cast. So does all that
      puts out integers or booleans (ids, masks), and the 0 with which Python's `sum` begins.

    It is the pass of inference: dropout counts 0. Whatever `call` computes counts, used or not.
    Histories count at full length, as they are computed. What a batch of two rows costs beyond one
    of one row is the figure per sample; the rest, on weights alone, is `per_batch`.

    Args:
        model: a model of the zoo, adapted.

    Returns:
        `Flops`, with `total`, `parts` and `per_batch`.

    Raises:
        ValueError: the model is not adapted, or calls a function of `keras.ops` whose cost is not
            known here.

    Example:

    >>> model = keras_ctr.zoo.get("dnn", embedding_dim=4, hidden_units=[8]).adapt(schema)
    >>> print(keras_ctr.flops(model))
    embed              70
    deep              400
    click              18
    other               0
    total per sample  488
    once per batch      0
    """
    if not isinstance(getattr(model, "schema", None), Schema):
        raise ValueError(
            "FLOPs depend on the columns, which this model does not know yet: call "
            "`model.adapt(dataset_or_schema)` first."
        )
    one, two = (_count(model, rows) for rows in (1, 2))
    parts = {name: two[name] - one[name] for name in one}
    return Flops(parts, per_batch=sum(one.values()) - sum(parts.values()))


def _count(model, rows):
    """Returns the FLOPs of every part for a batch of so many rows, those on weights included."""
    meter = _Meter(model)
    walk(model, meter, rows)
    return {**meter.parts, "other": meter.other}


class _Meter(Visitor):
    """Adds up what operations cost, by the part of the model they belong to."""

    def __init__(self, model):
        self.names = _names_of_parts(model)
        self.parts = {}
        self.other = 0
        self.within = []  # layers whose `call` is running, outermost first
        self.times = 1  # how often what is being called is computed

    def enter(self, layer):
        self.within.append(layer)
        self.parts.setdefault(self._outermost(), 0)

    def leave(self):
        self.within.pop()

    def operation(self, operation, args, kwargs, outputs):
        flat = keras.tree.flatten((args, kwargs)), keras.tree.flatten(outputs)
        self.add(cost(operation, *flat))

    def scan(self, length, step, state, inputs):
        """The step is called once and counts `length` times."""
        self.times *= length
        state, output = step(state, keras.KerasTensor(inputs.shape[1:], inputs.dtype))
        self.times //= length
        return state, keras.KerasTensor((length, *output.shape), output.dtype)

    def add(self, count):
        count *= self.times
        if not self.within:
            self.other += count
            return
        part = self._outermost()
        if self._in_residual():
            part = f"{part}.residual"
        self.parts[part] = self.parts.get(part, 0) + count

    def _outermost(self):
        return self.names.get(id(self.within[0]), self.within[0].name)

    def _in_residual(self):
        """Whether a stack runs, but none of its units: all it does itself is to connect them."""
        stack, *inside = self.within
        return isinstance(stack, Stack) and not any(unit in inside for unit in stack.units)


def _names_of_parts(model):
    """Returns `{id(layer): name}` for the layers among the model's attributes.

    The parts of a model inside, such as the backbone of DeRes, keep the names they have there.
    """
    names = {}
    for attribute in dir(model):
        if attribute.startswith("_") or hasattr(type(model), attribute):
            continue
        for path, leaf in leaves(getattr(model, attribute), attribute):
            if isinstance(leaf, CTRModel):
                names |= _names_of_parts(leaf)
            elif isinstance(leaf, keras.layers.Layer):
                names.setdefault(id(leaf), path)
    return names
