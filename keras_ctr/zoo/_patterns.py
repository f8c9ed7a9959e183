"""Objects among a model's arguments: patterns, of which it makes copies."""

import keras

from keras_ctr._config import arguments


def patterns(model):
    """Returns `{argument: layer}` of the arguments that are layers, as they were given."""
    given = {name: model.__dict__.get(name) for name in arguments(type(model))}
    return {name: value for name, value in given.items() if isinstance(value, keras.Layer)}


def replaced(cls, given):
    """Returns `{object argument: arguments given beside it that it replaces}`."""
    known = arguments(cls)
    return {
        name: [n for n in unused if n in given and not _same(given[n], known[n])]
        for name, unused in cls.replaced_by.items()
        if given.get(name) is not None and not isinstance(given[name], str)
    }


def require_alternatives(cls, given):
    """Raises `ValueError` if an object is given together with arguments that it replaces."""
    for name, unused in replaced(cls, given).items():
        if unused:
            raise ValueError(
                f"`{name}` replaces {', '.join(f'`{n}`' for n in unused)}: give the one or the "
                f"other. Received: {', '.join(f'{n}={given[n]!r}' for n in (*unused, name))}"
            )


def require_uncalled(model, unbuilt):
    """Raises `ValueError` if one of the patterns named in `unbuilt` has been built since."""
    found = patterns(model)
    for name in unbuilt:
        if found[name].built:
            raise ValueError(
                f"`{name}` of {type(model).__name__} is a pattern, and must not be called: store a "
                f"copy under another name, such as `self.part = layers.copy_of({name})`."
            )


def _same(value, default):
    as_list = list if isinstance(value, list | tuple) else lambda x: x
    return as_list(value) == (list(default) if isinstance(default, tuple) else default)
