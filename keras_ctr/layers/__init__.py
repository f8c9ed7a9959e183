"""Backend-agnostic layers.

One glossary for shapes: B batch, F fields, N numeric columns, T tokens, D width, H heads,
S sequence length, L depth, K flat width, E experts.
"""

from keras_ctr.layers import residuals
from keras_ctr.layers.click import Click
from keras_ctr.layers.cross import Cross, CrossMixture
from keras_ctr.layers.expert_router import ExpertRouter
from keras_ctr.layers.factorization_machine import FactorizationMachine
from keras_ctr.layers.factorization_machine_block import FactorizationMachineBlock
from keras_ctr.layers.feature_embedding import FeatureEmbedding
from keras_ctr.layers.field_attention import FieldAttention
from keras_ctr.layers.field_tokenizer import FieldTokenizer
from keras_ctr.layers.heterogeneous_attention import CompositeProjection, HeterogeneousAttention
from keras_ctr.layers.merged_sequence_tokenizer import MergedSequenceTokenizer
from keras_ctr.layers.meta_tanh_normalization import MetaTanhNormalization
from keras_ctr.layers.mlp import MLP
from keras_ctr.layers.nested import Nested
from keras_ctr.layers.per_token_dense import FeedForward, PerTokenDense
from keras_ctr.layers.per_token_swiglu import PerTokenSwiGLU
from keras_ctr.layers.seednorm import SeeDNorm
from keras_ctr.layers.self_attention import SelfAttention
from keras_ctr.layers.skip_logit import SkipLogit
from keras_ctr.layers.skip_meta_logit import SkipMetaLogit
from keras_ctr.layers.slice_tokenizer import SliceTokenizer
from keras_ctr.layers.stack import PreNorm, Serial, Stack
from keras_ctr.layers.tapped_stack import TappedStack
from keras_ctr.layers.token_mixing import MixAndRevert, TokenMixing
from keras_ctr.layers.tokenizers import AutoSplitTokenizer, SequenceTokenizer
from keras_ctr.layers.towers import get_tower
from keras_ctr.layers.transduction_unit import TransductionUnit
from keras_ctr.layers.unimixing import UniMixing, UniMixingLite
from keras_ctr.layers.wukong_layer import WukongLayer

__all__ = [
    "MLP",
    "AutoSplitTokenizer",
    "Click",
    "CompositeProjection",
    "Cross",
    "CrossMixture",
    "ExpertRouter",
    "FactorizationMachine",
    "FactorizationMachineBlock",
    "FeatureEmbedding",
    "FeedForward",
    "FieldAttention",
    "FieldTokenizer",
    "HeterogeneousAttention",
    "MergedSequenceTokenizer",
    "MetaTanhNormalization",
    "MixAndRevert",
    "Nested",
    "PerTokenDense",
    "PerTokenSwiGLU",
    "PreNorm",
    "SeeDNorm",
    "SelfAttention",
    "SequenceTokenizer",
    "Serial",
    "SkipLogit",
    "SkipMetaLogit",
    "SliceTokenizer",
    "Stack",
    "TappedStack",
    "TokenMixing",
    "TransductionUnit",
    "UniMixing",
    "UniMixingLite",
    "WukongLayer",
    "get_tower",
    "residuals",
]
