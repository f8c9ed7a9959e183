"""Our layers against other people's: same weights, same inputs, equal to 1e-5, derivatives too.

`make parity` installs the peers, lets each of them write its cases (`peers/`), and runs this on
every backend with `PARITY_CASES` set to their folder. Where definitions differ, `peers/` chooses
settings of the peer that are ours and says why. Two layers of deepctr-torch are put right there:

- `LogTransformLayer` (AFN) in training: its batch norms have the embedding dimensions as channels,
  those of the authors' code have the fields and the neurons.
- `AUGRUCell`: it registers `bias_hh` under the name of `bias_ih`, so that there is only one.
"""

import collections
import itertools
import os
import pathlib
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import layers, testing

if "PARITY_CASES" not in os.environ:
    pytest.skip("needs the cases that `make parity` writes", allow_module_level=True)
FOLDER = pathlib.Path(os.environ["PARITY_CASES"])


@dataclass
class Ours:
    """Our side of a case.

    Attributes:
        layer: makes the layer.
        weights: turns the peer's weights, a dict, into ours, in the order of `layer.weights`; a
            None leaves a weight as it is.
        linear: whether it turns the peer's gradients into ours as well. Otherwise only those of the
            inputs are compared.
        training: as in a layer's call.
        call: turns the layer and the named inputs into the output; by default the layer takes them.
    """

    layer: Any
    weights: Any = lambda w: []
    linear: bool = True
    training: bool | None = None
    call: Any = None


def named(*names):
    return lambda w: [w[name] for name in names]


def bilinear(count):
    """One matrix for each but, of the peer's one per field, the last, which no pair uses."""
    return lambda w: [np.stack([w[f"bilinear.{at}.weight"].T for at in range(count)])]


def compressed(w):
    return [
        part
        for at in range(2)
        for part in (w[f"conv1ds.{at}.weight"][..., 0].T, w[f"conv1ds.{at}.bias"])
    ]


def cross_vector(w):
    return [*w["kernels"], *w["bias"][..., 0]]


def cross_matrix(w):
    return [*w["kernels"].transpose(0, 2, 1), *w["bias"][..., 0]]


def mixture(w):
    gates = np.concatenate([w["gating.0.weight"], w["gating.1.weight"]]).T
    per_layer = zip(w["V_list"], w["C_list"], w["U_list"], w["bias"][..., 0], strict=True)
    swap = (0, 2, 1)
    return [
        gates,
        *(p for v, c, u, b in per_layer for p in (v, c.transpose(swap), u.transpose(swap), b)),
    ]


def logarithmic(w):
    """Every channel has the same numbers, whatever the channels are."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return [w["ltl_weights"], *(w[f"bn.{at}.{part}"][0] for at in range(2) for part in parts)]


def logarithmic_training(w):
    norms = [(w[f"bn.{at}.weight"], w[f"bn.{at}.bias"], None, None) for at in range(2)]
    return [w["ltl_weights"], *norms[0], *norms[1]]


def dice(w, prefix=""):
    moving = (w.get(f"{prefix}bn.running_{part}") for part in ("mean", "var"))
    return [w[f"{prefix}alpha"].ravel(), *moving]


def linear(w, name):
    """Kernel and bias of a torch `Linear`."""
    return [w[f"{name}.weight"].T, w[f"{name}.bias"]]


def target_attention(w):
    hidden = [part for at in range(2) for part in linear(w, f"local_att.dnn.linears.{at}")]
    return [*hidden, *linear(w, "local_att.dense")]


def target_attention_dice(w):
    *hidden, kernel, bias = target_attention(w)
    activations = (dice(w, f"local_att.dnn.activation_layers.{at}.") for at in range(2))
    return [*hidden, *itertools.chain(*activations), kernel, bias]


def gru(w, prefix="", suffix="_l0", update=-1):
    """Torch's update gate says how much of the state is kept, ours how much is new: `σ(-x)`."""
    sign = np.repeat([1, update, 1], 3)  # reset, update, new
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    kernel, recurrent, *biases = (w[f"{prefix}{part}{suffix}"] for part in parts)
    return [kernel.T * sign, recurrent.T * sign, np.stack(biases) * sign]


def augru(w):
    """The peer's update gate is as ours."""
    return gru(w, "rnn.", "", update=1)


def cross(w, kernel=lambda w, at: w[f"{at}.0"], bias="1"):
    """Kernels, then biases, of three layers."""
    return [*(kernel(w, at) for at in range(3)), *(w[f"{at}.{bias}"] for at in range(3))]


def cross_diagonal(w):
    """`diag_scale` is a kernel's own diagonal, made larger."""
    return cross(w, lambda w, at: w[f"{at}.0"] + 0.3 * np.eye(len(w[f"{at}.0"])))


def cross_low_rank(w):
    """`projection_dim` makes the kernel a product of two."""
    return cross(w, lambda w, at: w[f"{at}.0"] @ w[f"{at}.1"], bias="2")


OURS = {
    "deepctr_torch/fm": Ours(layers.FactorizationMachine),
    "deepctr_torch/bi_interaction": Ours(layers.BiInteraction),
    "deepctr_torch/inner_product": Ours(layers.DotInteraction),
    "deepctr_torch/afm": Ours(
        lambda: layers.AttentionalFactorizationMachine(3),
        named("attention_W", "attention_b", "projection_h"),
    ),
    "deepctr_torch/cin": Ours(lambda: layers.CompressedInteraction([6, 3]), compressed),
    "deepctr_torch/attention": Ours(
        lambda: layers.FieldAttention(4, 2), named("W_Query", "W_key", "W_Value")
    ),
    "deepctr_torch/attention_wider": Ours(
        lambda: layers.FieldAttention(6, 3),
        lambda w: [w[name][:4] for name in ("W_Query", "W_key", "W_Value", "W_Res")],
    ),
    "deepctr_torch/bilinear_all": Ours(
        lambda: layers.BilinearInteraction("all"), lambda w: [w["bilinear.weight"].T[None]]
    ),
    "deepctr_torch/bilinear_each": Ours(lambda: layers.BilinearInteraction("field"), bilinear(4)),
    "deepctr_torch/bilinear_interaction": Ours(
        lambda: layers.BilinearInteraction("pair"), bilinear(10)
    ),
    "deepctr_torch/senet": Ours(
        lambda: layers.SqueezeExcitation(2),
        lambda w: [w["excitation.0.weight"].T, w["excitation.2.weight"].T],
    ),
    "deepctr_torch/cross_vector": Ours(lambda: layers.CrossVector(3), cross_vector),
    "deepctr_torch/cross_matrix": Ours(lambda: layers.Cross(3), cross_matrix),
    "deepctr_torch/cross_mixture": Ours(lambda: layers.CrossMixture(2, 3, 2), mixture),
    "deepctr_torch/logarithmic": Ours(
        lambda: layers.LogarithmicTransform(6), logarithmic, linear=False
    ),
    "deepctr_torch/logarithmic_training": Ours(
        lambda: layers.LogarithmicTransform(6), logarithmic_training, training=True
    ),
}
OURS |= {
    "deepctr_torch/dice": Ours(layers.Dice, dice),
    "deepctr_torch/dice_training": Ours(layers.Dice, dice, training=True),
    "deepctr_torch/target_attention": Ours(
        lambda: layers.TargetAttention([6, 5], "sigmoid"), target_attention
    ),
    "deepctr_torch/target_attention_softmax": Ours(
        lambda: layers.TargetAttention([6, 5], "sigmoid", softmax=True), target_attention
    ),
    "deepctr_torch/target_attention_dice": Ours(
        lambda: layers.TargetAttention([6, 5], "dice"), target_attention_dice
    ),
    "deepctr_torch/target_attention_dice_training": Ours(
        lambda: layers.TargetAttention([6, 5], "dice", softmax=True),
        target_attention_dice,
        training=True,
    ),
    "deepctr_torch/gru": Ours(lambda: layers.AUGRU(3, return_sequences=True), gru),
    "deepctr_torch/augru_sequences": Ours(lambda: layers.AUGRU(3, return_sequences=True), augru),
    "deepctr_torch/augru": Ours(lambda: layers.AUGRU(3), augru),
}
for peer in ("keras_rs", "tensorflow_recommenders"):
    OURS |= {
        f"{peer}/dot": Ours(layers.DotInteraction),
        f"{peer}/cross": Ours(layers.Cross, cross),
        f"{peer}/cross_diagonal": Ours(layers.Cross, cross_diagonal, linear=False),
        f"{peer}/cross_low_rank": Ours(layers.Cross, cross_low_rank, linear=False),
    }


def linears(*names):
    """Kernel and bias of each, where it has one."""
    return lambda w: [
        p for name in names for p in (w[f"{name}.weight"].T, w.get(f"{name}.bias")) if p is not None
    ]


def several(*parts):
    return lambda w: [weight for part in parts for weight in part(w)]


def batch_norm(name):
    """Learned ones, and moving averages where they are given: not among the gradients."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return lambda w: [w.get(f"{name}.{part}") for part in parts]


def cross_layers(w):
    per_layer = [linear(w, f"cross_layers.{at}") for at in range(3)]
    return [part for kind in zip(*per_layer, strict=True) for part in kind]


def fuxictr_mixture(w):
    lists = {n: [w[f"{n}.{at}"] for at in range(2)] for n in ("V_list", "C_list", "U_list")}
    gates = {f"gating.{at}.weight": w[f"gating.{at}.weight"] for at in range(2)}
    return mixture({**lists, **gates, "bias": np.stack([w["bias.0"], w["bias.1"]])})


def fuxictr_cin(w):
    """Its maps have the first layer's fields before those of the layer below, ours after them."""
    found = []
    for at, below in ((1, 5), (2, 6)):
        kernel = w[f"cin_layer.layer_{at}.weight"][..., 0]
        kernel = kernel.reshape(-1, 5, below).transpose(0, 2, 1).reshape(len(kernel), -1)
        found += [kernel.T, w[f"cin_layer.layer_{at}.bias"]]
    return found


def gated_cross(w):
    return [
        p for at in range(2) for p in (w[f"w.{at}.weight"].T, w[f"b.{at}"], w[f"wg.{at}.weight"].T)
    ]


def euler(w):
    biases = [w[f"bias_{kind}"][0].T for kind in ("lam", "theta")]
    norms = [w[f"norm_{part}.{kind}"] for part in "rp" for kind in ("weight", "bias")]
    return [w["inter_orders"], *biases, *norms, *linear(w, "im")]


def pair_of(layer, first, second, training=None):
    return layer([first, second])


def both_of(layer, first, second, training=None):
    return ops.concatenate(layer([first, second]), axis=1)


TOWER = several(linears("mlp.0"), batch_norm("mlp.1"), linears("mlp.3"), batch_norm("mlp.4"))
FINAL = several(
    linears("layer.0.linear"), batch_norm("norm.0"), linears("layer.1.linear"), batch_norm("norm.1")
)
LOGARITHMS = several(
    lambda w: [w["coefficient_W.weight"].T],
    batch_norm("log_batch_norm"),
    batch_norm("exp_batch_norm"),
)
FM_BLOCK = several(
    lambda w: [w["proj_Y"], w["layer_norm.weight"], w["layer_norm.bias"]],
    linears("mlp.mlp.0", "mlp.mlp.2"),
)

FUXICTR = {
    "fm": Ours(layers.FactorizationMachine),
    "bi_interaction": Ours(layers.BiInteraction),
    "inner_product": Ours(layers.DotInteraction),
    "senet": Ours(
        lambda: layers.SqueezeExcitation(2),
        lambda w: [w["excitation.0.weight"].T, w["excitation.2.weight"].T],
    ),
    "cross_vector": Ours(
        lambda: layers.CrossVector(3),
        lambda w: [
            *(w[f"cross_net.{at}.weight.weight"].T for at in range(3)),
            *(w[f"cross_net.{at}.bias"] for at in range(3)),
        ],
    ),
    "cross_matrix": Ours(lambda: layers.Cross(3), cross_layers),
    "cross_mixture": Ours(lambda: layers.CrossMixture(2, 3, 2), fuxictr_mixture),
    "cin": Ours(lambda: layers.CompressedInteraction([6, 3]), fuxictr_cin),
    "dice": Ours(layers.Dice, dice),
    "dice_training": Ours(layers.Dice, dice, training=True),
    "tower": Ours(lambda: layers.MLP([6, 5], batch_norm=True), TOWER),
    "tower_training": Ours(lambda: layers.MLP([6, 5], batch_norm=True), TOWER, training=True),
    "heads": Ours(
        lambda: layers.MultiHeadTargetAttention(2, 4),
        lambda w: [w["W_q.weight"].T, w["W_k.weight"].T],
    ),
}
for version in ("BilinearInteraction", "BilinearInteractionV2"):
    FUXICTR |= {
        f"{version}_field_all": Ours(
            lambda: layers.BilinearInteraction("all"), lambda w: [w["bilinear_W"][None]]
        ),
        f"{version}_field_each": Ours(
            lambda: layers.BilinearInteraction("field"), lambda w: [w["bilinear_W"][:4]]
        ),
        f"{version}_field_interaction": Ours(
            lambda: layers.BilinearInteraction("pair"), named("bilinear_W")
        ),
    }
for softmax in (False, True):
    FUXICTR["target_attention" + "_softmax" * softmax] = Ours(
        lambda softmax=softmax: layers.TargetAttention([6, 5], "sigmoid", softmax=softmax),
        linears(*(f"attention_layer.mlp.{at}" for at in (0, 2, 4))),
    )
FUXICTR_ZOO = {
    "gated_cross": Ours(lambda: layers.GatedCross(2), gated_cross),
    "mask_block": Ours(
        lambda: layers.MaskBlock(7, 2.0),
        several(
            linears("hidden_layer.0"),
            named("hidden_layer.1.weight", "hidden_layer.1.bias"),
            linears("mask_layer.0", "mask_layer.2"),
        ),
        call=pair_of,
    ),
    "euler": Ours(lambda: layers.EulerInteraction(3, layer_norm=True), euler, call=both_of),
    "fusion": Ours(
        lambda: layers.BilinearFusion(2), lambda w: [w["w_xy"].reshape(2, 3, 2)], call=pair_of
    ),
    "field_gate": Ours(layers.FieldGate, linears("linear")),
    "factorized": Ours(lambda: layers.FactorizedInteraction(6), linears("linear")),
    "factorized_block": Ours(lambda: layers.FactorizedInteractionBlock([6, 4]), FINAL),
    "factorized_block_training": Ours(
        lambda: layers.FactorizedInteractionBlock([6, 4]), FINAL, training=True
    ),
    "fm_block": Ours(lambda: layers.FactorizationMachineBlock(3, 2, [7]), FM_BLOCK),
    "wukong": Ours(
        lambda: layers.WukongLayer(3, 4, 2, [7]),
        lambda w: [
            w["lcb.linear.weight"].T,
            w["residual_proj.weight"].T,
            *FM_BLOCK({n[4:]: p for n, p in w.items() if n.startswith("fmb.")}),
            w["layer_norm.weight"],
            w["layer_norm.bias"],
        ],
    ),
    "logarithmic": Ours(lambda: layers.LogarithmicTransform(6), LOGARITHMS),
    "logarithmic_training": Ours(lambda: layers.LogarithmicTransform(6), LOGARITHMS, training=True),
    "attention_4": Ours(lambda: layers.FieldAttention(4, 2), linears("W_q", "W_k", "W_v")),
    "attention_6": Ours(lambda: layers.FieldAttention(6, 3), linears("W_q", "W_k", "W_v", "W_res")),
    "fwfm": Ours(layers.FieldWeightedFactorizationMachine, linears("interaction_weight")),
    "afm": Ours(
        lambda: layers.AttentionalFactorizationMachine(3), linears("attention.0", "attention.2")
    ),
    "fmfm_vectorized": Ours(
        lambda: layers.FieldMatrixedFactorizationMachine(diagonal=True), named("interaction_weight")
    ),
    "fmfm_matrixed": Ours(layers.FieldMatrixedFactorizationMachine, named("interaction_weight")),
}
if (FOLDER / "fuxictr" / "afm.npz").exists():  # where its model zoo was at hand
    FUXICTR |= FUXICTR_ZOO
OURS |= {f"fuxictr/{name}": case for name, case in FUXICTR.items()}

differences = {}  # of the cases that were compared


def stored(case):
    """Returns what a peer wrote: dicts of arrays, by kind."""
    found = collections.defaultdict(dict)
    with np.load(FOLDER / f"{case}.npz") as file:
        for key, array in file.items():
            kind, _, name = key.partition("/")
            found[kind][name] = array
    return found


@pytest.mark.parametrize("case", OURS)
def test_parity(case):
    ours, theirs = OURS[case], stored(case)
    [output], [cotangent] = theirs["output"].values(), theirs["cotangent"].values()
    layer = ours.layer()
    options = {} if ours.training is None else {"training": ours.training}
    inputs = {
        name: keras.Variable(x, dtype="float32") if x.dtype.kind == "f" else x
        for name, x in theirs["inputs"].items()
    }

    def call():
        given = {name: ops.convert_to_tensor(x) for name, x in inputs.items()}
        if ours.call is not None:
            return ours.call(layer, **given, **options)
        return layer(**given, **options)

    call()  # makes the weights
    for weight, value in zip(layer.weights, ours.weights(theirs["weights"]), strict=True):
        if value is not None:
            weight.assign(np.broadcast_to(value, weight.shape))
    compared = {"output": difference(ops.convert_to_numpy(call()), output)}
    variables = {name: inputs[name] for name in theirs["input_gradients"]}
    expected = list(theirs["input_gradients"].values())
    if ours.linear:
        variables |= {weight.path: weight for weight in layer.trainable_weights}
        expected += [g for g in ours.weights(theirs["weight_gradients"]) if g is not None]
    cotangent = ops.convert_to_tensor(cotangent, "float32")
    found = testing.gradients(lambda: ops.sum(call() * cotangent), list(variables.values()))
    for name, mine, other in zip(variables, found, expected, strict=True):
        compared[f"gradient of {name}"] = difference(mine, other)
    assert not {name: size for name, size in compared.items() if not size <= 1e-5}
    differences[case] = max(compared.values())


def difference(mine, other):
    """The largest difference, relative where the numbers are larger than 1."""
    assert mine.shape == other.shape
    return (abs(mine - other) / np.maximum(1, abs(other))).max()


def test_every_case_was_compared(capsys):
    """All that the peers wrote is listed here, and all that is listed was compared."""
    written = {f"{path.parent.name}/{path.stem}" for path in FOLDER.rglob("*.npz")}
    assert written == set(OURS) == set(differences)
    worst = max(differences, key=differences.get)
    with capsys.disabled():
        print(f" {len(written)} cases; {differences[worst]:.0e} at most, in {worst} ", end="")
