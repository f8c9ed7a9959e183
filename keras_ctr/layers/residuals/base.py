import contextlib

from keras import ops

from keras_ctr.layers.base import Layer


class Residual(Layer):
    """How the units of a `Stack` are connected in depth. Abstract: use one of its subclasses.

    `build` gets `(depth, D)`: the number of units and the token width. Weights stay float32 under
    mixed precision.

    A unit may return fewer tokens than it saw (a pyramid): they are the last ones, and `write`
    drops the others from the state.
    """

    in_stack = False  # whether a `Stack` has it

    def build(self, input_shape):
        self.depth, self.width = input_shape

    def add_weight(self, *args, autocast=False, **kwargs):
        """Keras's `add_weight`, of a weight that is not cast to the compute dtype."""
        return super().add_weight(*args, autocast=autocast, **kwargs)

    def open(self, x):
        """Returns the state before the first unit, from the stack's input `(B, T, D)`."""
        raise NotImplementedError

    def read(self, state, at):
        """Returns what unit `at` sees, `(B, T, D)`, and what survives it (handed to `write`)."""
        raise NotImplementedError

    def write(self, kept, y, at):
        """Returns the state after unit `at`, whose increment is `y` `(B, T' <= T, D)`."""
        raise NotImplementedError

    def close(self, state):
        """Returns the stack's output `(B, T, D)`: by default one more `read`, at site `depth`."""
        return self.read(state, self.depth)[0]

    _notes = None

    def note(self, name, at, value):
        """Keeps what a site computes while somebody is `watching`."""
        if self._notes is not None:
            self._notes.append((name, at, value))

    @contextlib.contextmanager
    def watching(self):
        """Collects `(name, site, tensor)` of all `note`s of calls made inside, in their order."""
        notes = []
        for part in self.parts():
            object.__setattr__(part, "_notes", notes)  # past Keras, which would copy the list
        try:
            yield notes
        finally:
            for part in self.parts():
                object.__setattr__(part, "_notes", None)

    def parts(self):
        """Returns this residual and those it is made of."""
        return [self]


def tail(x, like):
    """Returns the last tokens of `x`, as many as `like` has: `(B, T, D)` -> `(B, T', D)`."""
    return x if x.shape[1] == like.shape[1] else x[:, -like.shape[1] :]


def rms_normed(x):
    """Returns float32 `x / RMS(x)` over the last axis, without a gain."""
    x = ops.cast(x, "float32")
    return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-6)
