"""Files of saved models: written whole or not at all (`whole`), and those of version 0.1.

The latter's configs held made parts in the place of arguments. Most of their weights are found
without help: Keras looks for a part both under its own name and, by its class, among all layers of
the model. Those it kept under an argument's name are in `moved`.
"""

import contextlib
import os
import pathlib
import uuid

from keras_ctr.backend.internals import path_in
from keras_ctr.layers.copies import unbuilt
from keras_ctr.zoo._patterns import replaced


@contextlib.contextmanager
def whole(filepath):
    """Yields a path to write a `.keras` file to, which takes its name when it is whole and on disk.

    What stood there stays until then: a kill or a full disk leaves the old file. Folders, addresses
    and other kinds of files are yielded as they are.
    """
    path = pathlib.Path(filepath)
    is_file = path.suffix == ".keras" and "://" not in str(filepath) and not path.is_dir()
    if not is_file or not path.parent.is_dir():
        yield filepath
        return
    unfinished = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.unfinished.keras")
    try:
        yield unfinished
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


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
