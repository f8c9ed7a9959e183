"""`Layer`: a Keras layer whose config is its constructor's signature."""

import inspect

import keras

_KERAS_ARGUMENTS = ("self", "name", "dtype", "trainable", "kwargs")


class FromSignature:
    """Derives `get_config` and `from_config` from the constructor, so that arguments stand once.

    The class is registered with Keras as `keras_ctr>Name`, which is how a saved model finds it.
    Its constructor stores every argument under its own name. Keras objects among the arguments (a
    tower, a residual, a list of sub-layers) are serialised with it.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        package = cls.__module__.partition(".")[0]
        keras.saving.register_keras_serializable(package=package)(cls)

    def get_config(self):
        """Returns the constructor's arguments as plain values that JSON can hold."""
        config = super().get_config()
        for name in arguments(type(self)):
            config[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return config

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        own = arguments(cls)
        config = {
            name: keras.saving.deserialize_keras_object(value) if name in own else value
            for name, value in config.items()
        }
        return super().from_config(config)


def arguments(cls):
    """Returns `{name: default}` of a class's constructor, without those every Keras layer has."""
    parameters = inspect.signature(cls.__init__).parameters
    return {name: p.default for name, p in parameters.items() if name not in _KERAS_ARGUMENTS}


class Layer(FromSignature, keras.layers.Layer):
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
