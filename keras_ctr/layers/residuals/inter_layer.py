from keras_ctr._checks import require_positive
from keras_ctr.layers.residuals.base import Residual, tail


class InterLayer(Residual):
    """The plain residual, and every `r` units the stream of `r` units ago once more.

    `X_l = X_{l-1} + f_l(X_{l-1})`, and where `r` divides `l`, `X_l` is that plus `X_{l-r}`: a
    shorter way for the gradient to the lower layers. Never after the last unit, so that a stack of
    at most `r` units is the plain one.

    Args:
        every: distance `r` in units.

    Reference:
        "TokenMixer-Large", arXiv 2602.06563: inter-layer residuals every 2 or 3 layers.
    """

    def __init__(self, every=2, **kwargs):
        super().__init__(**kwargs)
        require_positive(every=every)
        self.every = every

    def open(self, x):
        return x, x  # the stream, and what it was at the last crossing

    def read(self, state, at):
        return state[0], state

    def write(self, kept, y, at):
        x, before = (tail(stream, y) for stream in kept)
        x, unit = x + y, at + 1
        if unit % self.every == 0 and unit < self.depth:
            x = before = x + before
        return x, before
