"""Runs the layers of deepctr-torch: python tests/parity/peers/run_deepctr_torch.py FOLDER"""

import functools
import importlib.util
import sys
import types

import numpy as np
import torch
from cases import FIELDS, ROWS, STEPS, WIDTH, Writer
from torch import nn
from torch_cases import record, tensor

# Only the layers, which need nothing but torch: importing the package itself imports all models
# (with scikit-learn and more) and asks the package index for a newer version.
package = types.ModuleType("deepctr_torch")
package.__path__ = importlib.util.find_spec("deepctr_torch").submodule_search_locations
sys.modules["deepctr_torch"] = package
from deepctr_torch.layers import activation, interaction, sequence  # noqa: E402

NEURONS = 6
writer = Writer("deepctr_torch")
record = functools.partial(record, writer)


def listed(module):
    """A call for layers that take a list of `(B, 1, D)`."""
    return lambda x: module(list(torch.split(x, 1, dim=1)))


record("fm", interaction.FM(), x=writer.fields())

bi_interaction = interaction.BiInteractionPooling()
record("bi_interaction", bi_interaction, lambda x: bi_interaction(x)[:, 0], x=writer.fields())

products = interaction.InnerProductLayer()
record("inner_product", products, lambda x: listed(products)(x)[..., 0], x=writer.fields())

# The layer's last step makes a logit, which in ours is the model's: here it does nothing.
afm = interaction.AFMLayer(WIDTH, attention_factor=3)
record("afm", afm, listed(afm), {"projection_p": torch.eye(WIDTH)}, x=writer.fields())

# By default a ReLU follows, and half of a layer's maps go to the output, the others to the next
# layer; the paper has the identity as its best activation, and all maps in both places.
cin = interaction.CIN(FIELDS, (6, 3), activation="linear", split_half=False)
record("cin", cin, x=writer.fields())

attention = interaction.InteractingLayer(WIDTH, head_num=2)
record("attention", attention, fixed={"W_Res": torch.eye(WIDTH)}, x=writer.fields())

# Its matrices are square: zeros beside the input make them wider than the input.
wide = interaction.InteractingLayer(WIDTH + 2, head_num=3)
record("attention_wider", wide, lambda x: wide(nn.functional.pad(x, (0, 2))), x=writer.fields())

for kind in ("all", "each", "interaction"):
    bilinear = interaction.BilinearInteraction(FIELDS, WIDTH, kind)
    record(f"bilinear_{kind}", bilinear, x=writer.fields())

record("senet", interaction.SENETLayer(FIELDS, reduction_ratio=2), x=writer.fields())

for kind in ("vector", "matrix"):
    cross = interaction.CrossNet(FIELDS * WIDTH, layer_num=3, parameterization=kind)
    record(f"cross_{kind}", cross, x=writer.flat())

mixture = interaction.CrossNetMix(FIELDS * WIDTH, low_rank=3, num_experts=2, layer_num=2)
record("cross_mixture", mixture, x=writer.flat())


class LastAxisNorm(nn.BatchNorm1d):
    """Batch norm of `(B, D, C)` with a mean and a variance for each of the last axis."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def record_logarithmic(case, layer, fixed):
    """A neuron's bias is zero, as the authors have none. Ours raises values to 1e-5, not 1e-7."""
    x = writer.fields()
    x[abs(x) < 0.1] = 0.1  # rounding grows with 1 / x
    fixed = {"ltl_biases": torch.zeros(1, 1, NEURONS), **fixed}

    def call(x):  # (B, D · N) -> (B, N, D)
        return layer(x).reshape(-1, WIDTH, NEURONS).transpose(1, 2)

    record(case, layer, call, fixed, x=x)


# The batch norms of the peer have one mean and variance per embedding dimension; those of the
# authors' code, of FuxiCTR and of ours have one per field and one per neuron. Without training, and
# with equal numbers in all channels, it doesn't matter which.
layer = interaction.LogTransformLayer(FIELDS, WIDTH, NEURONS).eval()
same = {}
for at, (mean, variance, scale, shift) in enumerate([(-0.5, 1.5, 0.7, 0.2), (1.2, 0.6, 1.3, -0.4)]):
    nn.init.constant_(layer.bn[at].running_mean, mean)
    nn.init.constant_(layer.bn[at].running_var, variance)
    same[f"bn.{at}.weight"] = torch.full((WIDTH,), scale)
    same[f"bn.{at}.bias"] = torch.full((WIDTH,), shift)
record_logarithmic("logarithmic", layer, same)

# In training: the peer's own steps, but for the channels of the norms.
layer = interaction.LogTransformLayer(FIELDS, WIDTH, NEURONS)
layer.bn = nn.ModuleList([LastAxisNorm(FIELDS), LastAxisNorm(NEURONS)])
record_logarithmic("logarithmic_training", layer, {})


def statistics(norm):
    """Gives a batch norm moving averages as they might be, and leaves training."""
    norm.running_mean = tensor(writer.normal(norm.num_features))
    norm.running_var = tensor(writer.uniform(norm.num_features)) + 0.5
    return norm.eval()


# The batch norm within the peer's Dice has a scale and a shift of its own, in the paper's there is
# none: one and zero.
def plain(module):
    """Returns the scales and shifts of all batch norms, as they start."""
    return {name: p.data for name, p in module.named_parameters() if ".bn." in f".{name}"}


dice = activation.Dice(WIDTH)
record("dice_training", dice, fixed=plain(dice), x=writer.normal(ROWS, WIDTH))

dice = activation.Dice(WIDTH, dim=3)
statistics(dice.bn)
record("dice", dice, fixed=plain(dice), x=writer.events())

lengths = np.arange(ROWS) % STEPS + 1  # none is empty: the peer's softmax then gives the mean
newest_last = np.arange(STEPS) >= STEPS - lengths[:, None]
oldest_first = np.arange(STEPS) < lengths[:, None]


def record_attention(case, mask, activation, softmax, training=True):
    """DIN's attention; the peer's padding takes part in the statistics of Dice, ours does not."""
    pooling = sequence.AttentionSequencePoolingLayer(
        (6, 5), activation, softmax, supports_masking=True, embedding_dim=WIDTH
    )
    if not training:
        for layer in pooling.local_att.dnn.activation_layers:
            statistics(layer.bn)

    def call(target, events, mask):
        return pooling(target[:, None], events, None, mask)[:, 0]

    target = writer.normal(ROWS, WIDTH)
    record(case, pooling, call, plain(pooling), target=target, events=writer.events(), mask=mask)


record_attention("target_attention", newest_last, "sigmoid", softmax=False)
record_attention("target_attention_softmax", newest_last, "sigmoid", softmax=True)
record_attention("target_attention_dice", newest_last, "dice", softmax=False, training=False)
everywhere = np.ones_like(newest_last)
record_attention("target_attention_dice_training", everywhere, "dice", softmax=True)

# Torch's own, which is DIEN's interest extractor there.
gru = nn.GRU(WIDTH, 3, batch_first=True)
record("gru", gru, lambda x: gru(x)[0], x=writer.events())


def record_augru(case, lengths, call, **mask):
    """The peer has one tensor for both biases, registered under the wrong name: here are two."""
    augru = sequence.DynamicGRU(WIDTH, 3, gru_type="AUGRU")
    augru.rnn.bias_ih = nn.Parameter(torch.zeros(9))
    pack = functools.partial(
        nn.utils.rnn.pack_padded_sequence,
        lengths=torch.as_tensor(lengths),
        batch_first=True,
        enforce_sorted=False,
    )

    def states(x, scores, mask=None):
        packed = augru(pack(x), pack(scores[..., None]))
        return call(nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0])

    scores = writer.uniform(ROWS, STEPS)
    record(case, augru, states, x=writer.events(), scores=scores, **mask)


record_augru("augru_sequences", np.full(ROWS, STEPS), lambda states: states)
record_augru(
    "augru", lengths, lambda states: states[torch.arange(ROWS), lengths - 1], mask=oldest_first
)
