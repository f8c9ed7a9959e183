"""Backend-agnostic layers.

One glossary for shapes: B batch, F fields, N numeric columns, T tokens, D width, H heads,
S sequence length, L depth, K flat width.
"""

from keras_ctr.layers import residuals
from keras_ctr.layers.click import Click
from keras_ctr.layers.cross import Cross, CrossMixture
from keras_ctr.layers.factorization_machine import FactorizationMachine
from keras_ctr.layers.feature_embedding import FeatureEmbedding
from keras_ctr.layers.field_attention import FieldAttention
from keras_ctr.layers.mlp import MLP
from keras_ctr.layers.per_token_dense import FeedForward, PerTokenDense
from keras_ctr.layers.self_attention import SelfAttention
from keras_ctr.layers.stack import PreNorm, Serial, Stack
from keras_ctr.layers.tokenizers import AutoSplitTokenizer, SequenceTokenizer

__all__ = [
    "MLP",
    "AutoSplitTokenizer",
    "Click",
    "Cross",
    "CrossMixture",
    "FactorizationMachine",
    "FeatureEmbedding",
    "FeedForward",
    "FieldAttention",
    "PerTokenDense",
    "PreNorm",
    "SelfAttention",
    "SequenceTokenizer",
    "Serial",
    "Stack",
    "residuals",
]
