"""Residual connections as objects: what an RNN cell is in time, a residual is in depth.

    state = residual.open(x)
    for at, unit in enumerate(units):
        x, kept = residual.read(state, at)          # what unit `at` sees, and what survives it
        state = residual.write(kept, unit(x), at)   # put the unit's increment back
    x = residual.close(state)

One object spans a stack and owns the weights of every site on axis 0. Residuals compose: DeRes is
`Gated(Identity(), DepthAttention(activation="silu"))`. Most start as the plain residual; where one
does not, its docstring says so.
"""

from keras_ctr.layers.residuals.base import Residual
from keras_ctr.layers.residuals.deep_cross_attention import DeepCrossAttention
from keras_ctr.layers.residuals.depth_attention import DepthAttention
from keras_ctr.layers.residuals.depth_weighted import DepthWeighted
from keras_ctr.layers.residuals.gated import Gated
from keras_ctr.layers.residuals.hyper_connection import HyperConnection
from keras_ctr.layers.residuals.identity import Identity
from keras_ctr.layers.residuals.inter_layer import InterLayer
from keras_ctr.layers.residuals.laurel import LAuReL
from keras_ctr.layers.residuals.learnable_residual import LearnableResidual
from keras_ctr.layers.residuals.manifold_hyper_connection import ManifoldHyperConnection
from keras_ctr.layers.residuals.mudd import MUDD
from keras_ctr.layers.residuals.post_norm import PostNorm
from keras_ctr.layers.residuals.siamese import Siamese
from keras_ctr.layers.residuals.sinkhorn import sinkhorn

__all__ = [
    "MUDD",
    "DeepCrossAttention",
    "DepthAttention",
    "DepthWeighted",
    "Gated",
    "HyperConnection",
    "Identity",
    "InterLayer",
    "LAuReL",
    "LearnableResidual",
    "ManifoldHyperConnection",
    "PostNorm",
    "Residual",
    "Siamese",
    "attnres",
    "deres",
    "mhc",
    "sinkhorn",
]


def deres(block_size=None, gate="vector"):
    """DeRes (arXiv 2606.07980): identity and SiLU block attention, blended by a vector gate."""
    attention = DepthAttention(block_size=block_size, activation="silu")
    return Gated(Identity(), attention, gate=gate)


def attnres(block_size=None):
    """Block Attention Residuals (arXiv 2603.15031); `block_size=1` is the full form."""
    return DepthAttention(block_size=block_size, activation="softmax")


def mhc(streams=4):
    """Manifold-constrained Hyper-Connections (arXiv 2512.24880)."""
    return ManifoldHyperConnection(streams=streams)
