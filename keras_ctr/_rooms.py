"""Imports the rooms that need Keras when they are first asked for, or once Keras is imported.

Preparing data and showing lists need no backend, whose import takes seconds. But whoever loads a
saved model by `keras.saving.load_model` finds our classes only if they are imported: therefore all
rooms are, right after Keras, or after the first of them that is imported by its own name.
"""

import importlib
import importlib.abc
import importlib.util
import sys

from keras_ctr import _start

NAMES = {  # what is public at the top of the package, and where it stands
    "fit": "keras_ctr.tabular.fit:fit",
    "flops": "keras_ctr.measure:flops",
    "layers": "keras_ctr.layers",
    "losses": "keras_ctr.losses",
    "metrics": "keras_ctr.metrics",
    "optimizers": "keras_ctr.optimizers",
    "plots": "keras_ctr.experiments.plots",
    "recipes": "keras_ctr.experiments.recipes",
    "studies": "keras_ctr.experiments.studies",
    "training": "keras_ctr.training",
    "zoo": "keras_ctr.zoo",
}
ASKED_FOR = {  # as well, but imported only by name: it needs a package that may not be there
    "CTRClassifier": "keras_ctr.tabular.classifier:CTRClassifier",
}
MOVED = ("plots", "recipes", "studies")  # modules that were at the top before
ROOMS = {  # what imports Keras
    *("keras_ctr.backend", "keras_ctr.experiments", "keras_ctr.layers", "keras_ctr.losses"),
    *("keras_ctr.measure", "keras_ctr.metrics", "keras_ctr.optimizers", "keras_ctr.testing"),
    *("keras_ctr.tabular", "keras_ctr.training", "keras_ctr.zoo"),
}


def public(name):
    """Returns what `keras_ctr.<name>` is.

    Raises:
        ImportError: no backend is installed.
    """
    if not _start.choose():
        raise ImportError(
            f"keras_ctr.{name} needs a backend. Install one of them: "
            "`pip install keras-ctr[jax]`, `[tensorflow]` or `[torch]`."
        )
    return _found(name)


def import_all():
    """Imports every room, and puts what is public of it into the package."""
    for name in NAMES:
        setattr(sys.modules["keras_ctr"], name, _found(name))
    for name in MOVED:
        sys.modules[f"keras_ctr.{name}"] = _found(name)


def _found(name):
    module, _, attribute = {**NAMES, **ASKED_FOR}[name].partition(":")
    module = importlib.import_module(module)
    return getattr(module, attribute) if attribute else module


class Doorman(importlib.abc.MetaPathFinder):
    """Waits for the first import of Keras or of a room, and has all rooms imported after it."""

    def find_spec(self, name, path=None, target=None):
        if name.removeprefix("keras_ctr.") in MOVED:
            return importlib.util.spec_from_loader(name, Moved())
        if name != "keras" and name not in ROOMS:
            return None
        sys.meta_path.remove(self)
        if not _start.choose():
            return None
        spec = importlib.util.find_spec(name)
        if spec is not None:
            run = spec.loader.exec_module

            def run_and_import_all(module):
                run(module)
                import_all()

            spec.loader.exec_module = run_and_import_all
        return spec


class Moved(importlib.abc.Loader):
    """Loads what stands in a room under the name that it had before."""

    def create_module(self, spec):
        found = _found(spec.name.removeprefix("keras_ctr."))
        self.spec = found.__spec__
        return found

    def exec_module(self, module):
        module.__spec__ = self.spec  # not that of the old name


def wait():
    """Has the rooms imported when Keras is; at once if that has been."""
    if "keras" in sys.modules:
        import_all()
    else:
        sys.meta_path.insert(0, Doorman())
