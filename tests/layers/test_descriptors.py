"""Every public layer and residual keeps the promises of `check_layer`: none is left out.

On one backend: on every one they go through Keras's own test (`test_keras_suite.py`), and all
models through `check_model`.
"""

import inspect

import pytest
from descriptors import LAYERS, RESIDUALS, inputs

from keras_ctr import layers, testing
from keras_ctr.layers import residuals

pytestmark = pytest.mark.once


def classes(module):
    return {name for name in module.__all__ if inspect.isclass(getattr(module, name))}


def test_none_is_left_out():
    assert set(LAYERS) == classes(layers)
    assert set(RESIDUALS) | {"Residual"} == classes(residuals)
    assert len(LAYERS) + len(RESIDUALS) == 90


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    descriptor = LAYERS[name]
    layer = descriptor.make()
    assert type(layer) is getattr(layers, name)
    x, further = inputs(descriptor.takes)
    testing.check_layer(layer, x, call_kwargs=further, frozen=descriptor.frozen)


@pytest.mark.parametrize("name", RESIDUALS)
def test_residual(name):
    units = [layers.PreNorm(layers.FeedForward(2)) for _ in range(3)]
    residual = RESIDUALS[name]()
    assert type(residual) is getattr(residuals, name)
    x, _ = inputs("tokens")
    testing.check_layer(layers.Stack(units, residual), x, x.shape)


@pytest.mark.parametrize("name", ["Cross", "SelfAttention", "FeatureEmbedding"])
def test_the_check_can_fail(name):
    """A layer that announces another shape than it has is found out."""
    descriptor = LAYERS[name]
    kind = getattr(layers, name)
    x, further = inputs(descriptor.takes)
    with pytest.raises(AssertionError, match="output shape"):
        testing.check_layer(descriptor.make(), x, (1, 2, 3, 4), further)
    assert kind.__name__ == name
