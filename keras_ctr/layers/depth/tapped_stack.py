from keras_ctr.layers.depth.stack import Stack


class TappedStack(Stack):
    """A `Stack` that also shows what every unit has seen, for heads on lower layers.

    Args: those of `Stack`.

    Call arguments:
        x: tokens `(B, T, D)`. Masks are not taken.

    Returns:
        A pair of the output `(B, T, D)` and a tuple with the input of each unit, `(B, T, D)`; that
        of unit `l` is what the residual reads out after `l` units.
    """

    takes = {"x": "(B, T, D)"}

    def call(self, x, training=None):
        return self.run(x)
