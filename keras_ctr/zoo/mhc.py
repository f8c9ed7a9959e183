"""mHC on the OneTrans backbone. Card: zoo/mhc/README.md."""

from keras_ctr.layers import residuals
from keras_ctr.zoo.onetrans import OneTrans


class MHC(OneTrans):
    """`OneTrans` with `n` streams whose mixing matrix is doubly stochastic (Sinkhorn).

    `X' = H_res X + H_postᵀ f(H_pre X)`: Hyper-Connections that can neither blow a stream up nor let
    it vanish.

    Args: those of `OneTrans`, with other defaults:
        residual: default `residuals.mhc()`, four streams.
        granularity: default `"sublayer"`, as in the paper.

    Example:

    >>> model = keras_ctr.zoo.get("mhc", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        DeepSeek, "mHC: Manifold-Constrained Hyper-Connections", arXiv 2512.24880, for language
        models; the abstract of DeRes, arXiv 2606.07980, names it as a baseline.
    """

    default_residual = staticmethod(residuals.mhc)
    default_granularity = "sublayer"
