"""Pages that are programs: what they compute is what the zoo computes."""

import pathlib
import re

import keras
import numpy as np
import pytest

from keras_ctr import Categorical, Numeric, Schema, Sequence, testing, zoo

pytestmark = pytest.mark.once

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "deres_in_100_lines.md"
SCHEMA = Schema(
    [
        Categorical("user", 9),
        Categorical("item", 12),
        Numeric("price"),
        Sequence("history", of="item", length=6),
    ]
)


def weights_of(model):
    """The weights of the zoo's model under the names of the page."""
    network = model.network
    fields, events = network.tokenize_fields, network.tokenize_events
    found = {
        "table": network.embed.table,
        "vectors": network.embed.vectors,
        "fields_norm": fields.norm.scale,
        "fields_kernel": fields.project.kernel,
        "fields_bias": fields.project.bias,
        "events_norm": events.norms[0].scale,
        "events_kernel": events.projections[0].kernel,
        "events_bias": events.projections[0].bias,
        "position": events.positions[0],
        "theta": model.depth.theta,
        "query": model.depth.second.query,
        "gain": model.depth.second.gain,
        "last_norm": network.last_norm.scale,
        "click_kernel": network.click.projections[0].kernel,
        "click_bias": network.click.bias,
        "layers": [],
    }
    for serial in model.stack.units:
        attention, feed = (unit.sublayer for unit in serial.units)
        found["layers"].append(
            {
                "norm_1": serial.units[0].norm.scale,
                "norm_2": serial.units[1].norm.scale,
                "query_shared": getattr(attention.query, "shared_kernel", None),
                "query_own": attention.query.own_kernel,
                "key_value_shared": attention.key_value.shared_kernel,
                "key_value_own": attention.key_value.own_kernel,
                "output": attention.output_projection.shared_kernel,
                "up_shared": getattr(feed.up, "shared_kernel", None),
                "up_own": feed.up.own_kernel,
                "up_bias": getattr(feed.up, "shared_bias", None),
                "up_own_bias": feed.up.own_bias,
                "down_shared": getattr(feed.down, "shared_kernel", None),
                "down_own": feed.down.own_kernel,
                "down_bias": getattr(feed.down, "shared_bias", None),
                "down_own_bias": feed.down.own_bias,
            }
        )
    return found


def as_arrays(value, width):
    if isinstance(value, dict):
        return {key: as_arrays(item, width) for key, item in value.items()}
    if isinstance(value, list):
        return [as_arrays(item, width) for item in value]
    if value is None:  # no event is left for a shared matrix: any will do
        return np.zeros(1) if width is None else np.zeros((width, 1))
    return keras.ops.convert_to_numpy(value).astype("float64")


@pytest.mark.parametrize("num_layers", [1, 2, 9])
def test_deres_in_100_lines(num_layers):
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code) == 1 and 60 <= len([line for line in code[0].splitlines() if line]) <= 100
    page = {}
    exec(compile(code[0], PAGE.name, "exec"), page)
    batch, _ = testing.example_batch(SCHEMA)
    sizes = {"token_dim": 8, "num_tokens": 2, "num_layers": num_layers, "num_heads": 2}
    model = zoo.get("deres", embedding_dim=4, **sizes).adapt(SCHEMA)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # away from the start, where the attention is silent
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape).astype("float32"))
    w = as_arrays(weights_of(model), None)
    for layer in w["layers"]:  # in the last layer no event asks, so there is no shared matrix
        for name, own in (("query", "query_own"), ("up", "up_own"), ("down", "down_own")):
            if layer[f"{name}_shared"].ndim == 1:
                layer[f"{name}_shared"] = np.zeros(layer[own].shape[1:])
    offsets = {"ids": np.array([0, 9]), "history": 9}
    found = page["predict"](batch, w, offsets, heads=2)
    assert np.std(found) > 1e-3
    np.testing.assert_allclose(found, model.predict(batch, verbose=0), rtol=1e-5, atol=1e-6)
