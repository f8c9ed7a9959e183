from keras_ctr.layers.base import Layer


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
