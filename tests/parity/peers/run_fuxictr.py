"""Runs the layers of FuxiCTR: python tests/parity/peers/run_fuxictr.py FOLDER [MODEL_ZOO]

What stands in its wheel is always compared. What stands beside its models is where `MODEL_ZOO` is
the folder of that name in a copy of github.com/reczoo/FuxiCTR.
"""

import functools
import importlib.util
import sys
import types

import numpy as np
import torch
from cases import FIELDS, ROWS, STEPS, WIDTH, Writer
from torch import nn
from torch_cases import record, tensor

writer = Writer("fuxictr")
record = functools.partial(record, writer)

# Only the layers, which need nothing but torch: the packages around them import data tools.
for name in ("fuxictr", "fuxictr.pytorch", "fuxictr.pytorch.layers"):
    package = types.ModuleType(name)
    package.__path__ = importlib.util.find_spec(name).submodule_search_locations
    sys.modules[name] = package
layers = sys.modules["fuxictr.pytorch.layers"]
layers.FeatureEmbedding = layers.LogisticRegression = None  # some modules name them
from fuxictr.pytorch.layers import activations, attentions, blocks, interactions  # noqa: E402

PAIRS = FIELDS * (FIELDS - 1) // 2


def unlearned(module):
    """What a module keeps as parameters without a gradient, such as indices."""
    return {name: p.data for name, p in module.named_parameters() if not p.requires_grad}


for name, outputs in (("fm", "product_sum"), ("bi_interaction", "bi_interaction")):
    record(name, interactions.InnerProductInteraction(FIELDS, outputs), x=writer.fields())
products = interactions.InnerProductInteraction(FIELDS, "inner_product")
record("inner_product", products, fixed=unlearned(products), x=writer.fields())

for kind in ("field_all", "field_each", "field_interaction"):
    for version in ("BilinearInteraction", "BilinearInteractionV2"):
        bilinear = getattr(interactions, version)(FIELDS, WIDTH, kind)
        record(f"{version}_{kind}", bilinear, fixed=unlearned(bilinear), x=writer.fields())

record("senet", attentions.SqueezeExcitation(FIELDS, reduction_ratio=2), x=writer.fields())
record("cross_vector", interactions.CrossNet(FIELDS * WIDTH, 3), x=writer.flat())
record("cross_matrix", interactions.CrossNetV2(FIELDS * WIDTH, 3), x=writer.flat())
mixture = interactions.CrossNetMix(FIELDS * WIDTH, layer_num=2, low_rank=3, num_experts=2)
record("cross_mixture", mixture, x=writer.flat())

# Its last step makes a logit, which in ours is the model's: here it does nothing.
cin = interactions.CompressedInteractionNet(FIELDS, [6, 3], output_dim=9)
record("cin", cin, fixed={"fc.weight": torch.eye(9), "fc.bias": torch.zeros(9)}, x=writer.fields())


def with_statistics(module):
    """Gives batch norms moving averages as they might be, and leaves training."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean = tensor(writer.normal(part.num_features))
            part.running_var = tensor(writer.uniform(part.num_features)) + 0.5
    return module.eval()


for mode, prepared in (("", with_statistics), ("_training", lambda module: module)):
    dice = prepared(activations.Dice(WIDTH))
    record(f"dice{mode}", dice, x=writer.normal(ROWS, WIDTH))
    tower = prepared(blocks.MLP_Block(WIDTH, [6, 5], "ReLU", batch_norm=True))
    record(f"tower{mode}", tower, x=writer.normal(ROWS, WIDTH))

lengths = np.arange(ROWS) % STEPS + 1  # none is empty: the peer's softmax then gives the mean
mask = np.arange(STEPS) >= STEPS - lengths[:, None]
for softmax in (False, True):
    attention = attentions.DIN_Attention(WIDTH, [6, 5], "sigmoid", use_softmax=softmax)
    record(
        "target_attention" + "_softmax" * softmax,
        attention,
        lambda target, events, mask, attention=attention: attention(target, events, mask),
        target=writer.normal(ROWS, WIDTH),
        events=writer.events(),
        mask=mask,
    )

# SIM has the events themselves as values, in every head, and leaves the heads side by side.
heads = attentions.MultiHeadTargetAttention(WIDTH, 2 * WIDTH, 2)
heads.W_o = nn.Identity()
record(
    "heads",
    heads,
    lambda target, events, mask: heads(target, events, mask),
    {"W_v.weight": torch.cat([torch.eye(WIDTH)] * 2)},
    target=writer.normal(ROWS, WIDTH),
    events=writer.events(),
    mask=mask,
)

if len(sys.argv) < 3:
    sys.exit()

# The models of its zoo stand on these, of which nothing is needed here.
models = types.ModuleType("fuxictr.pytorch.models")
models.BaseModel = nn.Module
sys.modules["fuxictr.pytorch.models"] = models
layers.MLP_Block = blocks.MLP_Block
layers.InnerProductInteraction = interactions.InnerProductInteraction
layers.ScaledDotProductAttention = attentions.ScaledDotProductAttention


def of_zoo(model):
    """Returns the module of a model."""
    path = f"{sys.argv[2]}/{model}/src/{model}.py"
    spec = importlib.util.spec_from_file_location(model, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_last_relu(block):
    """Its block ends in a ReLU, the paper's and ours in a linear map."""
    block.mlp.mlp[-1] = nn.Identity()
    return block


record("gated_cross", of_zoo("GDCN").GateCorssLayer(FIELDS * WIDTH, 2), x=writer.flat())

mask_block = of_zoo("MaskNet").MaskBlock(FIELDS * WIDTH, 6, 7, reduction_ratio=2)
record(
    "mask_block",
    mask_block,
    lambda first, second: mask_block(first, second),
    first=writer.flat(),
    second=writer.normal(ROWS, 6),
)

euler = of_zoo("EulerNet").EulerInteractionLayer(FIELDS * WIDTH, 3 * WIDTH, WIDTH, True, 0.0, 0.0)
record(
    "euler",
    euler,
    lambda first, second: torch.cat(euler((first, second)), dim=1),
    first=writer.fields(),
    second=writer.fields(),
)

fusion = of_zoo("FinalMLP").InteractionAggregation(6, 4, 1, num_heads=2)
none = {f"w_{side}.{part}": getattr(fusion, f"w_{side}").get_parameter(part).data * 0
        for side in "xy" for part in ("weight", "bias")}  # fmt: skip
record(
    "fusion",
    fusion,
    lambda first, second: fusion(first, second),
    none,
    first=writer.normal(ROWS, 6),
    second=writer.normal(ROWS, 4),
)

final = of_zoo("FinalNet")
record("field_gate", final.FeatureGating(FIELDS, "concat"), x=writer.fields())
factorized = final.FactorizedInteraction(WIDTH, 6, residual_type="concat")
record("factorized", factorized, x=writer.normal(ROWS, WIDTH))
for mode, prepared in (("", with_statistics), ("_training", lambda module: module)):
    block = final.FinalBlock(FIELDS * WIDTH, [6, 4], "ReLU", 0.0, True, "concat")
    record(f"factorized_block{mode}", prepared(block), x=writer.flat())

wukong = of_zoo("WuKong")
machines = wukong.FactorizationMachineBlock(FIELDS, 3, WIDTH, 2, [7])
record("fm_block", without_last_relu(machines), x=writer.fields())
layer = wukong.WuKongLayer(FIELDS, 4, 3, WIDTH, 2, [7], "relu", 0.0)
without_last_relu(layer.fmb)
record("wukong", layer, fixed={"residual_proj.bias": torch.zeros(7)}, x=writer.fields())


class Logarithmic(nn.Module):
    """The parts of AFN that its logarithmic net has."""

    def __init__(self):
        super().__init__()
        self.coefficient_W = nn.Linear(FIELDS, 6, bias=False)
        self.log_batch_norm, self.exp_batch_norm = nn.BatchNorm1d(FIELDS), nn.BatchNorm1d(6)

    def forward(self, x):
        found = of_zoo("AFN").AFN.logarithmic_net(self, x)
        return found.reshape(-1, 6, WIDTH)


for mode, prepared in (("", with_statistics), ("_training", lambda module: module)):
    x = writer.fields()
    x[abs(x) < 0.1] = 0.1  # rounding grows with 1 / x
    record(f"logarithmic{mode}", prepared(Logarithmic()), x=x)


for dim, heads in ((WIDTH, 2), (6, 3)):
    attention = of_zoo("AutoInt").MultiHeadSelfAttention(WIDTH, dim, heads)
    record(f"attention_{dim}", attention, x=writer.fields())


class OnFields(nn.Module):
    """The interactions of a model, by its own forward pass from the embeddings of the fields.

    Its first-order part is nothing here, and it ends in the logit.
    """

    def __init__(self, model):
        super().__init__()
        self.model = getattr(of_zoo(model), model)
        self.get_inputs = self.embedding_layer = self.output_activation = lambda x: x
        self.lr_layer = lambda x: 0.0

    def forward(self, x):
        return self.model.forward(self, x)["y_pred"]


for kind in ("vectorized", "matrixed"):
    fmfm = OnFields("FmFM")
    fmfm.field_interaction_type = kind
    shape = (PAIRS, WIDTH) if kind == "vectorized" else (PAIRS, WIDTH, WIDTH)
    fmfm.interaction_weight = nn.Parameter(torch.zeros(shape))
    fmfm.triu_index = torch.triu_indices(FIELDS, FIELDS, offset=1)
    record(f"fmfm_{kind}", fmfm, x=writer.fields())

fwfm = OnFields("FwFM")
fwfm.inner_product_layer = interactions.InnerProductInteraction(FIELDS, "inner_product")
fwfm.interaction_weight = nn.Linear(PAIRS, 1, bias=False)
fwfm._linear_type, fwfm.linear_weight_layer = "FiLV", lambda x: 0.0
record("fwfm", fwfm, fixed=unlearned(fwfm), x=writer.fields())

afm = OnFields("AFM")
afm.use_attention, afm.dropout1, afm.dropout2 = True, nn.Identity(), nn.Identity()
afm.product_layer = interactions.InnerProductInteraction(FIELDS, "elementwise_product")
afm.attention = nn.Sequential(
    nn.Linear(WIDTH, 3), nn.ReLU(), nn.Linear(3, 1, bias=False), nn.Softmax(dim=1)
)
afm.weight_p = nn.Identity()  # the last step makes the logit, which in ours is the model's
record("afm", afm, fixed=unlearned(afm), x=writer.fields())
