"""`Layer`: a Keras layer whose config is its constructor's signature."""

import keras

from keras_ctr._config import Checked


class Layer(Checked, keras.layers.Layer):
    """Base of every layer of `keras_ctr`."""

    def compute_mask(self, *args, **kwargs):
        """Masks are explicit arguments here: none is carried along by a tensor."""
        return None
