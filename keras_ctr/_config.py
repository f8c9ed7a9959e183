"""Config from the signature: what a constructor takes is written once.

Imports Keras only where an object of Keras is at hand already.
"""

import inspect

from keras_ctr._checks import RULES, check_arguments

_KERAS_ARGUMENTS = ("self", "name", "dtype", "trainable", "kwargs")


class FromSignature:
    """Derives `get_config` and `from_config` from the constructor, so that arguments stand once.

    The class is registered with Keras as `keras_ctr>Name`, which is how a saved model finds it.
    Its constructor stores every argument under its own name. Keras objects among the arguments (a
    tower, a residual, a list of sub-layers) are serialised with it.
    """

    def __init_subclass__(cls, **kwargs):
        import keras

        super().__init_subclass__(**kwargs)
        package = cls.__module__.partition(".")[0]
        keras.saving.register_keras_serializable(package=package)(cls)

    def get_config(self):
        """Returns the constructor's arguments as plain values that JSON can hold."""
        import keras

        config = super().get_config()
        for name in arguments(type(self)):
            value = getattr(self, name)
            value = list(value) if isinstance(value, tuple) else value  # as JSON gives it back
            config[name] = keras.saving.serialize_keras_object(value)
        return config

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        import keras

        own = arguments(cls)
        config = {
            name: keras.saving.deserialize_keras_object(value) if name in own else value
            for name, value in config.items()
        }
        return super().from_config(config)


class Checked(FromSignature):
    """Also checks the arguments of the shared vocabulary before the constructor sees them.

    Attributes:
        rules: `{argument: rule}` where a class takes something else under a shared name; `None` for
            no rule.
    """

    rules = {}

    def __new__(cls, *args, **kwargs):
        names = list(arguments(cls))
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        rules = {name: rule for name, rule in (RULES | cls.rules).items() if rule is not None}
        check_arguments(arguments(cls), given, rules)
        return super().__new__(cls, *args, **kwargs)


def arguments(cls):
    """Returns `{name: default}` of a class's constructor, without those every Keras layer has."""
    parameters = inspect.signature(cls.__init__).parameters
    return {name: p.default for name, p in parameters.items() if name not in _KERAS_ARGUMENTS}
