"""How to make each public layer and residual, and what it takes: one entry per name.

A name without an entry fails `test_descriptors.py`, so that nothing new goes untested.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from keras_ctr import Categorical, Numeric, Schema, Sequence, layers, testing
from keras_ctr.layers import residuals

B, F, T, S, D = 6, 4, 4, 5, 8
SCHEMA = Schema(
    [
        Categorical("user", 9),
        Categorical("item", 7),
        Numeric("price"),
        Sequence("history", of="item", length=S),
    ]
)
GROUPED = Schema([Categorical(name, 5) for name in "abcd"])


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A layer and its input.

    Attributes:
        make: function of a layer's keyword arguments that returns a new one.
        takes: the kind of its input, see `inputs`.
        frozen: parts of the names of weights that need not have a gradient.
    """

    make: Callable
    takes: str = "tokens"
    frozen: tuple = ()


def inputs(takes, seed=0):
    """Returns `(input, further arguments of the call)`."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype("float32")

    mask = np.arange(S)[None, :] >= np.arange(B)[:, None] % S  # right-aligned, none empty
    return {
        "flat": lambda: (normal(B, D), {}),
        "values": lambda: (normal(B, 3), {}),
        "fields": lambda: (normal(B, F, D), {}),
        "tokens": lambda: (normal(B, T, D), {}),
        "pairs": lambda: (normal(B, F, F - 1, D), {}),
        "two": lambda: ([normal(B, D), normal(B, D)], {}),
        "gated": lambda: ([normal(B, F, D), normal(B, D)], {}),
        "complex": lambda: ([normal(B, 2, D), normal(B, 2, D)], {}),
        "batch": lambda: (testing.example_batch(SCHEMA)[0], {}),
        "history": lambda: (normal(B, D), {"events": normal(B, S, D), "mask": mask}),
        "histories": lambda: (normal(B, T, D), {"histories": [(normal(B, S, D), mask)]}),
        "states": lambda: (normal(B, S, D), {"mask": mask}),
    }[takes]()


LAYERS = {
    "AUGRU": Descriptor(partial(layers.AUGRU, 6), "states"),
    "MLP": Descriptor(partial(layers.MLP, [6, 3], "silu", 0.1, True), "flat"),
    "ActionTransformer": Descriptor(partial(layers.ActionTransformer, 1, 2, 6, 3), "history"),
    "AttentionalFactorizationMachine": Descriptor(
        partial(layers.AttentionalFactorizationMachine, 5, 0.1), "fields"
    ),
    "AutoDis": Descriptor(partial(layers.AutoDis, 4, 5), "values"),
    "AutoSplitTokenizer": Descriptor(partial(layers.AutoSplitTokenizer, 3, 6), "fields"),
    "BehaviorTransformer": Descriptor(partial(layers.BehaviorTransformer, 4, 1, 2), "history"),
    "BiInteraction": Descriptor(layers.BiInteraction, "fields"),
    "BilinearAttention": Descriptor(layers.BilinearAttention, "history"),
    "BilinearFusion": Descriptor(partial(layers.BilinearFusion, 2), "two"),
    "BilinearInteraction": Descriptor(partial(layers.BilinearInteraction, "field"), "fields"),
    "CategoricalEmbedding": Descriptor(
        partial(layers.CategoricalEmbedding, 3, schema=SCHEMA), "batch"
    ),
    "Click": Descriptor(layers.Click, "two"),
    "CompositeProjection": Descriptor(partial(layers.CompositeProjection, 3), "tokens"),
    "CompressedInteraction": Descriptor(partial(layers.CompressedInteraction, (5, 2)), "fields"),
    "Cross": Descriptor(partial(layers.Cross, 2), "fields"),
    "CrossMixture": Descriptor(partial(layers.CrossMixture, 2, 3, 2), "fields"),
    "CrossVector": Descriptor(partial(layers.CrossVector, 2), "fields"),
    "Dice": Descriptor(layers.Dice, "flat"),
    "DotInteraction": Descriptor(layers.DotInteraction, "fields"),
    "EulerInteraction": Descriptor(partial(layers.EulerInteraction, 3), "complex"),
    "EulerTransform": Descriptor(layers.EulerTransform, "fields"),
    "ExpertRouter": Descriptor(partial(layers.ExpertRouter, 4, 3), "tokens"),
    "ExponentialCross": Descriptor(partial(layers.ExponentialCross, 2, 0.1), "flat"),
    "FactorizationMachine": Descriptor(layers.FactorizationMachine, "fields"),
    "FactorizationMachineBlock": Descriptor(
        partial(layers.FactorizationMachineBlock, 3, 2, [5]), "tokens"
    ),
    "FactorizedInteraction": Descriptor(partial(layers.FactorizedInteraction, 6), "flat"),
    "FactorizedInteractionBlock": Descriptor(
        partial(layers.FactorizedInteractionBlock, [6, 4]), "flat"
    ),
    "FeatureEmbedding": Descriptor(partial(layers.FeatureEmbedding, 3, schema=SCHEMA), "batch"),
    "FeatureSelection": Descriptor(partial(layers.FeatureSelection, [5]), "gated"),
    "FeedForward": Descriptor(partial(layers.FeedForward, 2, None)),
    "FieldAttention": Descriptor(partial(layers.FieldAttention, 6, 2), "fields"),
    "FieldAwareEmbedding": Descriptor(
        partial(layers.FieldAwareEmbedding, 3, schema=SCHEMA), "batch"
    ),
    "FieldAwareFactorizationMachine": Descriptor(layers.FieldAwareFactorizationMachine, "pairs"),
    "FieldGate": Descriptor(layers.FieldGate, "fields"),
    "FieldMatrixedFactorizationMachine": Descriptor(
        layers.FieldMatrixedFactorizationMachine, "fields"
    ),
    "FieldNormalization": Descriptor(layers.FieldNormalization, "fields"),
    "FieldTokenizer": Descriptor(partial(layers.FieldTokenizer, 6), "fields"),
    "FieldWeightedFactorizationMachine": Descriptor(
        layers.FieldWeightedFactorizationMachine, "fields"
    ),
    "GatedCross": Descriptor(partial(layers.GatedCross, 2), "fields"),
    "GroupTokenizer": Descriptor(
        partial(layers.GroupTokenizer, [["a", "b"], ["c", "d"]], 6, schema=GROUPED), "fields"
    ),
    "HeterogeneousAttention": Descriptor(partial(layers.HeterogeneousAttention, 2, 3)),
    "InterestEvolution": Descriptor(partial(layers.InterestEvolution, auxiliary=False), "history"),
    "LinearCross": Descriptor(partial(layers.LinearCross, 2, 0.1), "flat"),
    "LogarithmicTransform": Descriptor(partial(layers.LogarithmicTransform, 5), "fields"),
    "MaskBlock": Descriptor(partial(layers.MaskBlock, 7, 0.5, 0.1), "gated"),
    "MergedSequenceTokenizer": Descriptor(
        partial(layers.MergedSequenceTokenizer, 2, 1), "histories"
    ),
    "MetaTanhNormalization": Descriptor(layers.MetaTanhNormalization, "flat"),
    "MixAndRevert": Descriptor(
        partial(layers.MixAndRevert, layers.PreNorm(layers.PerTokenSwiGLU()), 2)
    ),
    "MultiHeadTargetAttention": Descriptor(
        partial(layers.MultiHeadTargetAttention, 2, 3), "history"
    ),
    "Nested": Descriptor(partial(layers.Nested, layers.UniMixing(4), layers.FeedForward(2))),
    "PerHistory": Descriptor(
        partial(layers.PerHistory, layers.TargetAttention([5]), schema=SCHEMA), "histories"
    ),
    "PerTokenDense": Descriptor(partial(layers.PerTokenDense, 6, 2)),
    "PerTokenSwiGLU": Descriptor(
        partial(layers.PerTokenSwiGLU, 2, router=layers.ExpertRouter(4, 3))
    ),
    "PeriodicEmbedding": Descriptor(
        partial(layers.PeriodicEmbedding, 4, 5, activation="tanh"), "values"
    ),
    "PiecewiseLinearEmbedding": Descriptor(
        partial(layers.PiecewiseLinearEmbedding, 4, [[-2.0, 0.0, 0.5, 2.0], [-1.0, 1.0], [0, 3]]),
        "values",
    ),
    "PostNormLayer": Descriptor(partial(layers.PostNormLayer, 2, 6)),
    "PreNorm": Descriptor(partial(layers.PreNorm, layers.FeedForward(2), 0.1, layers.SeeDNorm())),
    "SearchedInterest": Descriptor(partial(layers.SearchedInterest, 3, 3, 4), "history"),
    "SeeDNorm": Descriptor(layers.SeeDNorm),
    "SelfAttention": Descriptor(partial(layers.SelfAttention, 2, 2, True, 3)),
    "SequenceTokenizer": Descriptor(partial(layers.SequenceTokenizer, True), "histories"),
    "Serial": Descriptor(
        partial(layers.Serial, [layers.SelfAttention(2), layers.FeedForward(2)]),
    ),
    "SkipLogit": Descriptor(layers.SkipLogit, "two"),
    "SkipMetaLogit": Descriptor(partial(layers.SkipMetaLogit, [5, 4], linear=True), "fields"),
    "SliceTokenizer": Descriptor(partial(layers.SliceTokenizer, 4, 2), "fields"),
    "SoftSearch": Descriptor(partial(layers.SoftSearch, 3, 4), "history"),
    "SqueezeExcitation": Descriptor(partial(layers.SqueezeExcitation, 2), "fields"),
    "Stack": Descriptor(partial(layers.Stack, [layers.FeedForward(2)], residuals.deres())),
    "TabM": Descriptor(partial(layers.TabM, [6, 3], "silu", 0.1, 4), "flat"),
    "TappedStack": Descriptor(partial(layers.TappedStack, [layers.FeedForward(2)])),
    "TargetAttention": Descriptor(partial(layers.TargetAttention, [5], softmax=True), "history"),
    "TokenMixing": Descriptor(partial(layers.TokenMixing, 2)),
    "TransductionUnit": Descriptor(partial(layers.TransductionUnit, 2)),
    "UniMixing": Descriptor(partial(layers.UniMixing, 4)),
    "UniMixingLite": Descriptor(partial(layers.UniMixingLite, 4, 2, 2)),
    "WukongLayer": Descriptor(partial(layers.WukongLayer, 3, 2, 2, [5])),
}

# Each connects the units of a stack; `Residual` itself is abstract.
RESIDUALS = {
    "MUDD": residuals.MUDD,
    "DeepCrossAttention": residuals.DeepCrossAttention,
    "DepthAttention": residuals.DepthAttention,
    "DepthWeighted": residuals.DepthWeighted,
    "Gated": partial(residuals.Gated, residuals.Identity(), residuals.DepthAttention()),
    "HyperConnection": partial(residuals.HyperConnection, 2),
    "Identity": residuals.Identity,
    "InterLayer": residuals.InterLayer,
    "LAuReL": residuals.LAuReL,
    "LearnableResidual": residuals.LearnableResidual,
    "ManifoldHyperConnection": partial(residuals.ManifoldHyperConnection, 2),
    "PostNorm": residuals.PostNorm,
    "Siamese": residuals.Siamese,
}
