"""Picks a backend before Keras is first imported, where the user has not."""

import importlib.util
import json
import logging
import os
import pathlib
import sys

# Keras's name of each backend and the module it imports, in the order in which they are tried.
_MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def _configured():
    """The backend in Keras's config file. Keras writes the file itself, with its default in it."""
    home = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    try:
        return json.loads((home / "keras.json").read_text()).get("backend")
    except (OSError, ValueError):
        return None


def choose():
    """Sets `KERAS_BACKEND` if nothing chooses one and Keras's default, TensorFlow, is missing.

    Returns:
        Whether Keras has been imported or has a backend to run on.
    """
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ:
        return True
    if _configured() not in (None, "tensorflow"):
        return True
    installed = [name for name, module in _MODULES.items() if importlib.util.find_spec(module)]
    if not installed:
        return False
    if installed[0] != "tensorflow":
        os.environ["KERAS_BACKEND"] = installed[0]
        logging.getLogger("keras_ctr").warning(
            "KERAS_BACKEND is not set and TensorFlow is not installed: using %s.", installed[0]
        )
    return True
