"""DenseFormer on the OneTrans backbone. Card: zoo/denseformer/README.md."""

from keras_ctr.layers import residuals
from keras_ctr.zoo.onetrans import OneTrans


class DenseFormer(OneTrans):
    """`OneTrans` whose layers see a weighted sum of all earlier outputs: `Y_i = Σ_j α_ij X_j`.

    The weights `α` are static scalars. At the start it is exactly `OneTrans`.

    Args: those of `OneTrans`, with another default:
        residual: default `residuals.DepthWeighted()`.

    Example:

    >>> model = keras_ctr.zoo.get("denseformer", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Pagliardini et al., "DenseFormer", arXiv 2402.02622, for language models. DeRes, arXiv
        2606.07980, discusses it; that it is a row of its tables is our reconstruction.
    """

    default_residual = residuals.DepthWeighted
