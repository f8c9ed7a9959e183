"""What a model needs to be built: a batch of symbols, and the dtype policy of a saved one."""

import contextlib

import keras


def symbolic_batch(schema):
    """Returns a batch of `keras.Input`s."""
    return {
        key: keras.Input(shape, dtype=dtype, name=key)
        for key, (shape, dtype) in schema.shapes().items()
    }


@contextlib.contextmanager
def dtype_policy(policy):
    """Makes layers created inside take `policy` (a name, an object or its config; None: as is)."""
    before = keras.config.dtype_policy()
    if isinstance(policy, dict):
        policy = keras.saving.deserialize_keras_object(policy)
    if policy is not None:
        keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
