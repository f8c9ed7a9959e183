"""Backend-agnostic layers.

One glossary for shapes: B batch, F fields, N numeric columns, T tokens, D width, H heads,
S sequence length, L depth, K flat width, E experts, P pairs of fields (F·(F - 1)/2).
"""

from keras_ctr.layers import residuals
from keras_ctr.layers.action_transformer import ActionTransformer
from keras_ctr.layers.attentional_factorization_machine import AttentionalFactorizationMachine
from keras_ctr.layers.augru import AUGRU
from keras_ctr.layers.behavior_transformer import BehaviorTransformer
from keras_ctr.layers.bi_interaction import BiInteraction
from keras_ctr.layers.bilinear_attention import BilinearAttention
from keras_ctr.layers.bilinear_fusion import BilinearFusion
from keras_ctr.layers.bilinear_interaction import BilinearInteraction
from keras_ctr.layers.categorical_embedding import CategoricalEmbedding
from keras_ctr.layers.click import Click
from keras_ctr.layers.compressed_interaction import CompressedInteraction
from keras_ctr.layers.cross import Cross, CrossMixture
from keras_ctr.layers.cross_vector import CrossVector
from keras_ctr.layers.dice import Dice
from keras_ctr.layers.dot_interaction import DotInteraction
from keras_ctr.layers.euler_interaction import EulerInteraction
from keras_ctr.layers.euler_transform import EulerTransform
from keras_ctr.layers.expert_router import ExpertRouter
from keras_ctr.layers.exponential_cross import ExponentialCross
from keras_ctr.layers.factorization_machine import FactorizationMachine
from keras_ctr.layers.factorization_machine_block import FactorizationMachineBlock
from keras_ctr.layers.factorized_interaction import (
    FactorizedInteraction,
    FactorizedInteractionBlock,
)
from keras_ctr.layers.feature_embedding import FeatureEmbedding
from keras_ctr.layers.feature_selection import FeatureSelection
from keras_ctr.layers.field_attention import FieldAttention
from keras_ctr.layers.field_aware_embedding import FieldAwareEmbedding
from keras_ctr.layers.field_aware_factorization_machine import FieldAwareFactorizationMachine
from keras_ctr.layers.field_gate import FieldGate
from keras_ctr.layers.field_matrixed_factorization_machine import FieldMatrixedFactorizationMachine
from keras_ctr.layers.field_normalization import FieldNormalization
from keras_ctr.layers.field_tokenizer import FieldTokenizer
from keras_ctr.layers.field_weighted_factorization_machine import FieldWeightedFactorizationMachine
from keras_ctr.layers.gated_cross import GatedCross
from keras_ctr.layers.heterogeneous_attention import CompositeProjection, HeterogeneousAttention
from keras_ctr.layers.interest_evolution import InterestEvolution
from keras_ctr.layers.linear_cross import LinearCross
from keras_ctr.layers.logarithmic_transform import LogarithmicTransform
from keras_ctr.layers.mask_block import MaskBlock
from keras_ctr.layers.merged_sequence_tokenizer import MergedSequenceTokenizer
from keras_ctr.layers.meta_tanh_normalization import MetaTanhNormalization
from keras_ctr.layers.mlp import MLP
from keras_ctr.layers.multi_head_target_attention import MultiHeadTargetAttention
from keras_ctr.layers.nested import Nested
from keras_ctr.layers.per_history import PerHistory
from keras_ctr.layers.per_token_dense import FeedForward, PerTokenDense
from keras_ctr.layers.per_token_swiglu import PerTokenSwiGLU
from keras_ctr.layers.post_norm_layer import PostNormLayer
from keras_ctr.layers.searched_interest import SearchedInterest
from keras_ctr.layers.seednorm import SeeDNorm
from keras_ctr.layers.self_attention import SelfAttention
from keras_ctr.layers.skip_logit import SkipLogit
from keras_ctr.layers.skip_meta_logit import SkipMetaLogit
from keras_ctr.layers.slice_tokenizer import SliceTokenizer
from keras_ctr.layers.soft_search import SoftSearch
from keras_ctr.layers.squeeze_excitation import SqueezeExcitation
from keras_ctr.layers.stack import PreNorm, Serial, Stack, get_norm
from keras_ctr.layers.tapped_stack import TappedStack
from keras_ctr.layers.target_attention import TargetAttention
from keras_ctr.layers.token_mixing import MixAndRevert, TokenMixing
from keras_ctr.layers.tokenizers import AutoSplitTokenizer, GroupTokenizer, SequenceTokenizer
from keras_ctr.layers.towers import get_tower
from keras_ctr.layers.transduction_unit import TransductionUnit
from keras_ctr.layers.unimixing import UniMixing, UniMixingLite
from keras_ctr.layers.wukong_layer import WukongLayer

__all__ = [
    "AUGRU",
    "MLP",
    "ActionTransformer",
    "AttentionalFactorizationMachine",
    "AutoSplitTokenizer",
    "BehaviorTransformer",
    "BiInteraction",
    "BilinearAttention",
    "BilinearFusion",
    "BilinearInteraction",
    "CategoricalEmbedding",
    "Click",
    "CompositeProjection",
    "CompressedInteraction",
    "Cross",
    "CrossMixture",
    "CrossVector",
    "Dice",
    "DotInteraction",
    "EulerInteraction",
    "EulerTransform",
    "ExpertRouter",
    "ExponentialCross",
    "FactorizationMachine",
    "FactorizationMachineBlock",
    "FactorizedInteraction",
    "FactorizedInteractionBlock",
    "FeatureEmbedding",
    "FeatureSelection",
    "FeedForward",
    "FieldAttention",
    "FieldAwareEmbedding",
    "FieldAwareFactorizationMachine",
    "FieldGate",
    "FieldMatrixedFactorizationMachine",
    "FieldNormalization",
    "FieldTokenizer",
    "FieldWeightedFactorizationMachine",
    "GatedCross",
    "GroupTokenizer",
    "HeterogeneousAttention",
    "InterestEvolution",
    "LinearCross",
    "LogarithmicTransform",
    "MaskBlock",
    "MergedSequenceTokenizer",
    "MetaTanhNormalization",
    "MixAndRevert",
    "MultiHeadTargetAttention",
    "Nested",
    "PerHistory",
    "PerTokenDense",
    "PerTokenSwiGLU",
    "PostNormLayer",
    "PreNorm",
    "SearchedInterest",
    "SeeDNorm",
    "SelfAttention",
    "SequenceTokenizer",
    "Serial",
    "SkipLogit",
    "SkipMetaLogit",
    "SliceTokenizer",
    "SoftSearch",
    "SqueezeExcitation",
    "Stack",
    "TappedStack",
    "TargetAttention",
    "TokenMixing",
    "TransductionUnit",
    "UniMixing",
    "UniMixingLite",
    "WukongLayer",
    "get_norm",
    "get_tower",
    "residuals",
]
