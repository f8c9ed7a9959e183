"""A step whose loss or gradient is not finite changes nothing, and training stops.

Which step that was is found on the device, without waiting for it: from that step on no step has an
effect. The loss that is shown is then NaN, by which the host notices, with some delay.
"""

import math

import keras
from keras import ops

STATISTICS = ("not finite", "min", "max", "mean")


class Guard:
    """Watches the steps of a model.

    Args:
        schema: the model's, whose numeric columns and label are described after a failure.
    """

    def __init__(self, schema):
        self.columns = [feature.name for feature in schema.numerics] + [schema.label or "label"]
        self.failed = keras.Variable(
            0.0, dtype="float32", trainable=False, autocast=False, name="failed"
        )
        self.statistics = keras.Variable(
            "zeros",
            shape=(len(self.columns), len(STATISTICS)),
            dtype="float32",
            trainable=False,
            autocast=False,
            name="statistics",
        )

    @property
    def variables(self):
        """All variables that a step reads or changes."""
        return [self.failed, self.statistics]

    def check(self, loss, gradients, x, y):
        """Returns whether a step is to have an effect, a scalar, and notes what made it fail.

        Args:
            loss: scalar.
            gradients: those that must be finite, None among them allowed.
            x: dict of the packed arrays of the batch, or anything else, of which nothing is noted.
            y: labels.
        """
        bad = ops.cast(ops.logical_not(all_finite([loss, *gradients])), "float32")
        before = ops.convert_to_tensor(self.failed)
        if isinstance(x, dict):
            first = bad * (1 - before) > 0
            self.statistics.assign(
                ops.where(first, self._describe(x, y), ops.convert_to_tensor(self.statistics))
            )
        failed = ops.maximum(before, bad)
        self.failed.assign(failed)
        return failed < 0.5

    def _describe(self, x, y):
        columns = [ops.reshape(ops.cast(y, "float32"), (-1, 1))]
        if len(self.columns) > 1:
            columns.insert(0, ops.cast(x["values"], "float32"))
        values = ops.concatenate(columns, axis=1)
        finite = ops.isfinite(values)
        count = ops.sum(ops.cast(finite, "float32"), axis=0)
        return ops.stack(
            [
                ops.sum(1 - ops.cast(finite, "float32"), axis=0),
                ops.min(ops.where(finite, values, math.inf), axis=0),
                ops.max(ops.where(finite, values, -math.inf), axis=0),
                ops.sum(ops.where(finite, values, 0.0), axis=0) / ops.maximum(count, 1.0),
            ],
            axis=1,
        )

    def reset(self):
        """Lets steps have an effect again."""
        self.failed.assign(0.0)

    def raise_if_failed(self, model):
        """Raises `FloatingPointError` if a step failed since `reset`.

        Args:
            model: whose step it was.
        """
        if float(ops.convert_to_numpy(self.failed)) == 0:
            return
        done = int(ops.convert_to_numpy(model.optimizer.iterations))
        rows = [
            [name, f"{found[0]:.0f}", *(f"{x:.4g}" for x in found[1:])]
            for name, found in zip(self.columns, ops.convert_to_numpy(self.statistics), strict=True)
        ]
        culprits = [row[0] for row in rows if row[1] != "0"]
        if culprits:
            why = f"Values that are not finite came in the columns {culprits}."
        else:
            name, largest = _largest(model.trainable_variables)
            why = (
                "Numeric columns and labels of the batch were finite, so the weights have grown "
                f"too large: the largest is {largest:.3g}, in {name!r}. A smaller learning rate "
                "helps, or `global_clipnorm` of the optimizer."
            )
        lines = [["column", *STATISTICS], *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in lines
        )
        raise FloatingPointError(
            f"Training stopped at step {done + 1}, whose loss or gradient is not finite. Model and "
            f"optimizer are as they were after step {done}. {why} The batch:\n{table}"
        )


def all_finite(tensors):
    """Whether all elements of all tensors are finite, a scalar; None among them is ignored."""
    return ops.all(ops.stack([ops.all(ops.isfinite(t)) for t in tensors if t is not None]))


def _largest(variables):
    """Path and value of the weight with the largest magnitude."""
    found = [(v.path, float(ops.max(ops.abs(ops.convert_to_tensor(v))))) for v in variables]
    return max(found, key=lambda pair: pair[1])
