"""Attention Residuals on the OneTrans backbone. Card: zoo/attnres/README.md."""

from keras_ctr.layers import residuals
from keras_ctr.zoo.onetrans import OneTrans


class AttnRes(OneTrans):
    """`OneTrans` whose sub-layers attend over the blocks before them, instead of `x + f(x)`.

    `h_l = Σ_i softmax_i(⟨w_l, RMSNorm(b_i)⟩) · b_i`: there is no identity skip.

    Args: those of `OneTrans`, with other defaults:
        residual: default `residuals.attnres()`, the block form; `residuals.attnres(1)` is the full
            form.
        granularity: default `"sublayer"`, as in the paper.

    Example:

    >>> model = keras_ctr.zoo.get("attnres", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Kimi Team, "Attention Residuals", arXiv 2603.15031, for language models; on a CTR backbone
        it is a baseline of DeRes, arXiv 2606.07980.
    """

    default_residual = staticmethod(residuals.attnres)
    default_granularity = "sublayer"
