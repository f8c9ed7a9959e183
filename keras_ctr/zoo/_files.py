"""Saved models of version 0.1, whose configs held made parts in the place of arguments.

Most of their weights are found without help: Keras looks for a part both under its own name and, by
its class, among all layers of the model. Those it kept under an argument's name are in `moved`.
"""

from keras_ctr.backend.internals import path_in
from keras_ctr.layers.copies import unbuilt
from keras_ctr.zoo._patterns import replaced


def without_parts(config, cls):
    """Returns a config whose objects are patterns again.

    Version 0.1 stored made parts, with the shapes they were built for, in the place of arguments,
    also beside the arguments they were made from. Those are left out then.
    """
    config, parts = dict(config), {}
    for name, value in config.items():
        if isinstance(value, dict) and "build_config" in value:
            parts[name] = unbuilt(value)
    for name, unused in replaced(cls, config).items():
        for other in unused if name in parts else ():
            del config[other]
    return config | parts


def read_moved(store, moved):
    """Makes a store also find the parts of a model under the paths they had in version 0.1.

    Args:
        store: what Keras hands to the model's `load_own_variables`, one object for all parts.
        moved: `{path of a part now: path then}`, both relative to the model.
    """
    path = path_in(store)
    if path is None or not moved:  # no file of version 0.1 is of another kind
        return
    inside, get = f"{path}/" if path else "", store.get

    def get_moved(path):
        for now, then in moved.items():
            rest = path.removeprefix(inside + now)
            if rest != path and rest[:1] in ("", "/") and store.has_path(inside + then):
                return get(inside + then + rest)
        return get(path)

    store.get = get_moved
