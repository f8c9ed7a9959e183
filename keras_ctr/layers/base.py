"""`Layer`: a Keras layer whose config is its constructor's signature."""

import keras

from keras_ctr._config import Checked


class Layer(Checked, keras.layers.Layer):
    """Base of every layer of `keras_ctr`."""

    def compute_mask(self, *args, **kwargs):
        """Masks are explicit arguments here: none is carried along by a tensor."""
        return None


class SchemaLayer(Layer):
    """A layer that must know the columns: it has a `schema`, which `model.adapt` gives it."""

    def __init__(self, schema=None, **kwargs):
        super().__init__(**kwargs)
        self.schema = schema

    def adapt(self, schema):
        """Sets the schema."""
        self.schema = schema

    def require_schema(self):
        """Raises `ValueError` if there is no schema yet."""
        if self.schema is None:
            raise ValueError(
                f"This {type(self).__name__} has no schema yet. Call "
                "`model.adapt(dataset_or_schema)` (or `layer.adapt(schema)`) before using it."
            )
