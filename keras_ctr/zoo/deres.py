"""DeRes. Card: zoo/deres/README.md."""

from keras_ctr._checks import require_choice
from keras_ctr._config import arguments
from keras_ctr.layers import residuals
from keras_ctr.zoo._base import CTRModel
from keras_ctr.zoo.onetrans import OneTrans
from keras_ctr.zoo.tokenmixer_large import TokenMixerLarge
from keras_ctr.zoo.unimixer import UniMixer

BACKBONES = {"onetrans": OneTrans, "tokenmixer_large": TokenMixerLarge, "unimixer": UniMixer}


class DeRes(CTRModel):
    """`OneTrans` with two residual paths between layers, identity and block attention.

    `r_l = 2·(g_l ⊙ y_l + (1 - g_l) ⊙ x_l)`: `y` is the identity stream, `x = Σ_i SiLU(s_i)·b_i`
    attends over the outputs of all earlier blocks, and the gate `g` is a vector. At the start it is
    exactly the backbone with plain residuals.

    Args: those of `OneTrans`, of which a backbone takes the ones it knows, and:
        residual: default `residuals.deres()`. The paper's ablations are other expressions, such as
            `residuals.DepthAttention(activation="silu")` for the attention path alone.
        backbone: `"onetrans"`, `"tokenmixer_large"` or `"unimixer"`. For all arguments of the
            latter two, write `zoo.get("unimixer", residual=residuals.deres(), …)`.

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

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_tokens=8,
        num_layers=4,
        num_heads=4,
        dropout=0.0,
        causal=True,
        pyramid=True,
        groups=None,
        residual=None,
        norm=None,
        granularity="layer",
        backbone="onetrans",
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_choice(tuple(BACKBONES), backbone=backbone)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_tokens = num_tokens
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout
        self.causal = causal
        self.pyramid = pyramid
        self.groups = groups
        self.residual = residual
        self.norm = norm
        self.granularity = granularity
        self.backbone = backbone
        shared = set(arguments(BACKBONES[backbone])) & set(arguments(DeRes))
        given = {name: getattr(self, name) for name in shared}
        given["residual"] = residual or residuals.deres()
        network = BACKBONES[backbone](**given, name=backbone)
        self.depth = network.depth  # first, as optimizers and files of version 0.1 have it
        self.network = network

    @property
    def stack(self):
        """The backbone's stack of units."""
        return self.network.stack

    def shares_histories(self, differing):
        """Whether the backbone does."""
        return self.network.shares_histories(differing)

    def call(self, batch, training=None):
        return self.network(batch, training=training)
