"""Hyper-Connections on the OneTrans backbone. Card: zoo/hyper_connections/README.md."""

from keras_ctr.layers import residuals
from keras_ctr.zoo.onetrans import OneTrans


class HyperConnections(OneTrans):
    """`OneTrans` with `n` residual streams: `u = A_mᵀ H`, `H' = A_rᵀ H + Bᵀ f(u)`.

    The weights that read, mix and write the streams depend on the token. At the start it is exactly
    `OneTrans`, up to the factor `n` that the final norm takes away.

    Args: those of `OneTrans`, with other defaults:
        residual: default `residuals.HyperConnection()`, four streams, dynamic.
        granularity: default `"sublayer"`, as in the paper.

    Example:

    >>> model = keras_ctr.zoo.get("hyper_connections", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Zhu et al., "Hyper-Connections", arXiv 2409.19606, for language models. As a baseline of
        DeRes, arXiv 2606.07980, it is our reconstruction: the parent of mHC, which is one.
    """

    default_residual = residuals.HyperConnection
    default_granularity = "sublayer"
