"""Residuals that weigh every earlier increment anew at every site, per token."""

from keras import ops

from keras_ctr.layers.residuals.base import Residual, tail


class DenseConnections(Residual):
    """Keeps the stack's input and all increments; a site sees a weighted sum of them. Abstract."""

    def open(self, x):
        return (x,)

    def read(self, state, at):
        outputs = [ops.cast(output, "float32") for output in state]
        mixed = sum(
            weight * output
            for weight, output in zip(self.weights_at(outputs, at), outputs, strict=True)
        )
        return ops.cast(mixed, state[0].dtype), state

    def write(self, kept, y, at):
        return (*(tail(output, y) for output in kept), y)

    def weights_at(self, outputs, at):
        """Returns a weight for each of the `at + 1` outputs: scalar, `(D,)` or `(B, T, 1 or D)`."""
        raise NotImplementedError
