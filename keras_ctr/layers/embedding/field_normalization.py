import keras

from keras_ctr.layers.base import Layer


class FieldNormalization(Layer):
    """Layer norm of each field's embedding, with a gain and a shift of its own: `g_i ⊙ ê_i + s_i`.

    Call arguments:
        x: field embeddings `(B, F, D)`.

    Returns:
        `(B, F, D)`.

    Reference:
        Wang et al., "MaskNet", arXiv 2102.07619: layer normalization on feature embeddings.
    """

    takes = {"x": "(B, F, D)"}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, center=False, scale=False, dtype=self.dtype_policy
        )

    def build(self, input_shape):
        self.norm.build(input_shape)
        shape = input_shape[1:]
        self.gain = self.add_weight(shape=shape, initializer="ones", name="gain")
        self.shift = self.add_weight(shape=shape, initializer="zeros", name="shift")

    def call(self, x):
        return self.gain * self.norm(x) + self.shift
