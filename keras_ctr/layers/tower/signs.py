import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ctr")
class Signs(keras.initializers.Initializer):
    """Draws -1 and 1 with equal probability."""

    def __call__(self, shape, dtype=None):
        # Not from `keras.random` itself, whose seed is a variable: weights may be made in a trace.
        drawn = keras.initializers.RandomUniform(-1.0, 1.0)(shape, "float32")
        return ops.cast(ops.where(drawn < 0, -1.0, 1.0), dtype or keras.config.floatx())
