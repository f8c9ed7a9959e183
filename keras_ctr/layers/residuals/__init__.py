"""Residual connections as objects: what an RNN cell is in time, a residual is in depth.

    state = residual.open(x)
    for at, unit in enumerate(units):
        x, kept = residual.read(state, at)          # what unit `at` sees, and what survives it
        state = residual.write(kept, unit(x), at)   # put the unit's increment back
    x = residual.close(state)

One object spans a stack and owns the weights of every site on axis 0. Residuals compose: DeRes is
`Gated(Identity(), DepthAttention(activation="silu"))`.
"""

from keras_ctr.layers.residuals._base import Residual
from keras_ctr.layers.residuals.depth_attention import DepthAttention
from keras_ctr.layers.residuals.gated import Gated
from keras_ctr.layers.residuals.identity import Identity

__all__ = ["DepthAttention", "Gated", "Identity", "Residual", "attnres", "deres"]


def deres(block_size=None):
    """DeRes (arXiv 2606.07980): identity and SiLU block attention, blended by a vector gate."""
    return Gated(Identity(), DepthAttention(block_size=block_size, activation="silu"))


def attnres(block_size=None):
    """Block Attention Residuals (arXiv 2603.15031); `block_size=1` is the full form."""
    return DepthAttention(block_size=block_size, activation="softmax")
