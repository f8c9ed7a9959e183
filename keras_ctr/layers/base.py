"""`Layer`: a Keras layer whose config is its constructor's signature."""

import keras

from keras_ctr import backend
from keras_ctr._config import Checked
from keras_ctr.backend import internals


class Layer(Checked, keras.layers.Layer):
    """Base of every layer of `keras_ctr`."""

    def compute_output_spec(self, *args, **kwargs):
        """Returns shapes and dtypes of the outputs as the call itself has them.

        Keras would take the compute dtype for all where there is a `compute_output_shape`; but a
        logit is float32, and a layer that holds others puts out what they do.
        """
        dtype = self.compute_dtype if self.autocast else None
        return internals.traced(backend.traceable(self), dtype, args, kwargs)

    def compute_mask(self, *args, **kwargs):
        """Masks are explicit arguments here: none is carried along by a tensor."""
        return None
