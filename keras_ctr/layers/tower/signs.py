import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ctr")
class Signs(keras.initializers.Initializer):
    """Draws -1 and 1 with equal probability."""

    def __call__(self, shape, dtype=None):
        drawn = keras.random.randint(shape, 0, 2, dtype="int32")
        return ops.cast(2 * drawn - 1, dtype or keras.config.floatx())
