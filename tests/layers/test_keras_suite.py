"""Keras's own test of a layer, for every public layer and residual.

`keras.src.testing.TestCase.run_layer_test` is part of the installed package. It takes layers of one
input; those that have more are called by way of `Unpacked`.
"""

import inspect
from functools import partial

import keras
import pytest
from descriptors import LAYERS, RESIDUALS, inputs
from keras.src.testing import TestCase

from keras_ctr import layers
from keras_ctr.layers.base import Layer


@keras.saving.register_keras_serializable("tests")
class Unpacked(Layer):
    """A layer of several inputs as one whose only input is the list of all.

    Args:
        inner: the layer.
        takes: kind of input, see `descriptors.inputs`: its structure says where each one goes.
    """

    def __init__(self, inner, takes, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.takes = takes

    def build(self, shapes):
        shape, further = keras.tree.pack_sequence_as(inputs(self.takes), shapes)
        takes = inspect.signature(self.inner.build).parameters
        further = {f"{name}_shape": shape for name, shape in further.items()}
        self.inner.build(shape, **{name: further[name] for name in further if name in takes})

    def call(self, values, training=None):
        x, further = keras.tree.pack_sequence_as(inputs(self.takes), values)
        if "training" in inspect.signature(self.inner.call).parameters:
            further["training"] = training
        return self.inner(x, **further)


def several(make, takes, **kwargs):
    return Unpacked(make(**kwargs), takes, **kwargs)


def run(make, takes):
    x, further = inputs(takes)
    if further or isinstance(x, dict):
        make, x = partial(several, make, takes), keras.tree.flatten((x, further))
    x = tuple(x) if isinstance(x, list) else x  # TensorFlow's generators take no lists
    TestCase().run_layer_test(make, {}, input_data=x)


@pytest.fixture(autouse=True)
def mixed_precision_on_torch_too(monkeypatch):
    """Keras leaves that check out where there is no GPU; what we use of float16 runs on CPUs."""
    if keras.backend.backend() == "torch":
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    run(LAYERS[name].make, LAYERS[name].takes)


@pytest.mark.parametrize("name", RESIDUALS)
def test_residual(name):
    units = [layers.PreNorm(layers.FeedForward(2)) for _ in range(3)]

    def make(**kwargs):
        return layers.Stack(units, RESIDUALS[name](**kwargs), **kwargs)

    run(make, "tokens")


def symbol(array):
    return keras.KerasTensor(array.shape, str(array.dtype))


ANY = {"Dice", "MetaTanhNormalization", "SeeDNorm"}  # `(..., D)`


@pytest.mark.parametrize("symbolic", [False, True], ids=["eager", "symbolic"])
@pytest.mark.parametrize("name", sorted(set(LAYERS) - ANY))
def test_a_wrong_rank_is_refused(name, symbolic):
    """With the ranks that it takes, before and after it is built, for every tensor in turn."""
    x, further = inputs(LAYERS[name].takes)
    layer = LAYERS[name].make()
    if isinstance(x, dict):
        x = {key: x[key] for key in x if name != "CategoricalEmbedding" or key != "values"}
    else:
        taken = list(inspect.signature(layer.call).parameters)
        assert list(layer.takes) == taken[: len(layer.takes)]
        further = {key: further[key] for key in further if key in layer.takes}
    flat = keras.tree.flatten((x, further))
    stand_in, stand_ins = keras.tree.map_structure(symbol, (x, further))
    for build in (True, False):
        for at in range(len(flat)):
            wrong = [*flat[:at], flat[at][None, None, None], *flat[at + 1 :]]
            wrong, others = keras.tree.pack_sequence_as((x, further), wrong)
            if symbolic:
                wrong, others = keras.tree.map_structure(symbol, (wrong, others))
            with pytest.raises(ValueError, match=rf"{name} takes `\w+` of shape `\(B, "):
                layer(wrong, **others)
        if build:
            layer(stand_in, **stand_ins)
