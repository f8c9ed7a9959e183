"""DeRes. Card: zoo/deres/README.md."""

from keras_ctr.layers import residuals
from keras_ctr.zoo.onetrans import OneTrans


class DeRes(OneTrans):
    """`OneTrans` with two residual paths between layers, identity and block attention.

    `r_l = 2·(g_l ⊙ y_l + (1 - g_l) ⊙ x_l)`: `y` is the identity stream, `x = Σ_i SiLU(s_i)·b_i`
    attends over the outputs of all earlier blocks, and the gate `g` is a vector. At the start it is
    exactly `OneTrans`.

    Args: those of `OneTrans`, with another default:
        residual: default `residuals.deres()`. The paper's ablations are other expressions, such as
            `residuals.DepthAttention(activation="silu")` for the attention path alone.

    Example:

    >>> model = keras_ctr.zoo.get("deres", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        "DeRes: Decoupling Residual Stability and Adaptivity for Scalable CTR Prediction", arXiv
        2606.07980. No code and no equations are public: the two paths, the vector gate, SiLU in
        place of softmax and the OneTrans backbone are the abstract's; the rest is our
        specification, stated in `residuals.DepthAttention` and `residuals.Gated`.
    """

    default_residual = staticmethod(residuals.deres)
