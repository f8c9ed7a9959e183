"""Backend-agnostic layers.

One glossary for shapes: B batch, F fields, N numeric columns, T tokens, D width, H heads,
S sequence length, L depth, K flat width, E experts, P pairs of fields (F·(F - 1)/2).
"""

from keras_ctr.layers import residuals
from keras_ctr.layers.copies import copies, copy_of
from keras_ctr.layers.depth.nested import Nested
from keras_ctr.layers.depth.norms import get_norm
from keras_ctr.layers.depth.pre_norm import PreNorm
from keras_ctr.layers.depth.serial import Serial
from keras_ctr.layers.depth.stack import Stack
from keras_ctr.layers.depth.tapped_stack import TappedStack
from keras_ctr.layers.embedding.auto_dis import AutoDis
from keras_ctr.layers.embedding.categorical_embedding import CategoricalEmbedding
from keras_ctr.layers.embedding.click import Click
from keras_ctr.layers.embedding.feature_embedding import FeatureEmbedding
from keras_ctr.layers.embedding.feature_selection import FeatureSelection
from keras_ctr.layers.embedding.field_aware_embedding import FieldAwareEmbedding
from keras_ctr.layers.embedding.field_gate import FieldGate
from keras_ctr.layers.embedding.field_normalization import FieldNormalization
from keras_ctr.layers.embedding.periodic_embedding import PeriodicEmbedding
from keras_ctr.layers.embedding.piecewise_linear_embedding import PiecewiseLinearEmbedding
from keras_ctr.layers.embedding.squeeze_excitation import SqueezeExcitation
from keras_ctr.layers.history.action_transformer import ActionTransformer
from keras_ctr.layers.history.augru import AUGRU
from keras_ctr.layers.history.behavior_transformer import BehaviorTransformer
from keras_ctr.layers.history.bilinear_attention import BilinearAttention
from keras_ctr.layers.history.interest_evolution import InterestEvolution
from keras_ctr.layers.history.multi_head_target_attention import MultiHeadTargetAttention
from keras_ctr.layers.history.per_history import PerHistory
from keras_ctr.layers.history.searched_interest import SearchedInterest
from keras_ctr.layers.history.soft_search import SoftSearch
from keras_ctr.layers.history.target_attention import TargetAttention
from keras_ctr.layers.interaction.attentional_factorization_machine import (
    AttentionalFactorizationMachine,
)
from keras_ctr.layers.interaction.bi_interaction import BiInteraction
from keras_ctr.layers.interaction.bilinear_fusion import BilinearFusion
from keras_ctr.layers.interaction.bilinear_interaction import BilinearInteraction
from keras_ctr.layers.interaction.compressed_interaction import CompressedInteraction
from keras_ctr.layers.interaction.cross import Cross
from keras_ctr.layers.interaction.cross_mixture import CrossMixture
from keras_ctr.layers.interaction.cross_vector import CrossVector
from keras_ctr.layers.interaction.dot_interaction import DotInteraction
from keras_ctr.layers.interaction.euler_interaction import EulerInteraction
from keras_ctr.layers.interaction.euler_transform import EulerTransform
from keras_ctr.layers.interaction.exponential_cross import ExponentialCross
from keras_ctr.layers.interaction.factorization_machine import FactorizationMachine
from keras_ctr.layers.interaction.factorization_machine_block import FactorizationMachineBlock
from keras_ctr.layers.interaction.factorized_interaction import FactorizedInteraction
from keras_ctr.layers.interaction.factorized_interaction_block import FactorizedInteractionBlock
from keras_ctr.layers.interaction.field_attention import FieldAttention
from keras_ctr.layers.interaction.field_aware_factorization_machine import (
    FieldAwareFactorizationMachine,
)
from keras_ctr.layers.interaction.field_matrixed_factorization_machine import (
    FieldMatrixedFactorizationMachine,
)
from keras_ctr.layers.interaction.field_weighted_factorization_machine import (
    FieldWeightedFactorizationMachine,
)
from keras_ctr.layers.interaction.gated_cross import GatedCross
from keras_ctr.layers.interaction.linear_cross import LinearCross
from keras_ctr.layers.interaction.logarithmic_transform import LogarithmicTransform
from keras_ctr.layers.interaction.mask_block import MaskBlock
from keras_ctr.layers.interaction.wukong_layer import WukongLayer
from keras_ctr.layers.token.auto_split_tokenizer import AutoSplitTokenizer
from keras_ctr.layers.token.composite_projection import CompositeProjection
from keras_ctr.layers.token.expert_router import ExpertRouter
from keras_ctr.layers.token.feed_forward import FeedForward
from keras_ctr.layers.token.field_tokenizer import FieldTokenizer
from keras_ctr.layers.token.group_tokenizer import GroupTokenizer
from keras_ctr.layers.token.heterogeneous_attention import HeterogeneousAttention
from keras_ctr.layers.token.merged_sequence_tokenizer import MergedSequenceTokenizer
from keras_ctr.layers.token.mix_and_revert import MixAndRevert
from keras_ctr.layers.token.per_token_dense import PerTokenDense
from keras_ctr.layers.token.per_token_swiglu import PerTokenSwiGLU
from keras_ctr.layers.token.post_norm_layer import PostNormLayer
from keras_ctr.layers.token.seednorm import SeeDNorm
from keras_ctr.layers.token.self_attention import SelfAttention
from keras_ctr.layers.token.sequence_tokenizer import SequenceTokenizer
from keras_ctr.layers.token.slice_tokenizer import SliceTokenizer
from keras_ctr.layers.token.token_mixing import TokenMixing
from keras_ctr.layers.token.transduction_unit import TransductionUnit
from keras_ctr.layers.token.unimixing import UniMixing
from keras_ctr.layers.token.unimixing_lite import UniMixingLite
from keras_ctr.layers.tower.dice import Dice
from keras_ctr.layers.tower.meta_tanh_normalization import MetaTanhNormalization
from keras_ctr.layers.tower.mlp import MLP
from keras_ctr.layers.tower.skip_logit import SkipLogit
from keras_ctr.layers.tower.skip_meta_logit import SkipMetaLogit
from keras_ctr.layers.tower.tabm import TabM
from keras_ctr.layers.tower.towers import TOWER_ARGUMENTS, get_tower

__all__ = [
    "AUGRU",
    "MLP",
    "TOWER_ARGUMENTS",
    "ActionTransformer",
    "AttentionalFactorizationMachine",
    "AutoDis",
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
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
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
    "TabM",
    "TappedStack",
    "TargetAttention",
    "TokenMixing",
    "TransductionUnit",
    "UniMixing",
    "UniMixingLite",
    "WukongLayer",
    "copies",
    "copy_of",
    "get_norm",
    "get_tower",
    "residuals",
]
