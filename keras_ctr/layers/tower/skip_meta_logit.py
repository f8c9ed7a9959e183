import keras
from keras import ops

from keras_ctr._checks import require_choice, require_widths
from keras_ctr.layers.base import Layer
from keras_ctr.layers.copies import copies
from keras_ctr.layers.tower.meta_tanh_normalization import MetaTanhNormalization
from keras_ctr.layers.tower.mlp import MLP
from keras_ctr.layers.tower.skip_logit import SkipLogit


class SkipMetaLogit(Layer):
    """SML: a tower in which every layer adds a normalised term to the logit, `Σ_i v_iᵀ MTN(h_i)`.

    Takes the place of an `MLP` and of the `Dense(1)` after it, at any depth and shape: the gradient
    reaches every layer directly, and no statistic of the batch is needed. `h_i` is the output of
    layer `i` after its activation and before its dropout (our choice). The paper's `x_0`, the
    logit of all other parts of a model, is what `layers.Click` adds.

    Where the normalisation acts was not to be found out from the summary of the paper at hand. Its
    bound on the variance, `Var(x_0)` plus 1 per term, speaks of the terms; that SML "stabilises
    shallow layers" speaks of what the layers read. Hence `mtn_position`, whose default is our
    choice.

    Args:
        hidden_units: list with the width of each layer.
        activation: name of a Keras activation, or `"dice"`.
        dropout: rate on what the next layer reads.
        batch_norm: whether to normalise before each activation; the paper argues against it.
        mtn_position: `"skip"`, on the copy that goes to the logit; `"hidden"`, the next layer reads
            the normalised vector too; `"logit"`, on `v_iᵀ h_i`, where the bound is exact.
        norm: pattern of the normalisation, of which each layer gets a copy. `None`:
            `MetaTanhNormalization()`. `keras.layers.Identity()` leaves plain Skip Logit.
        linear: whether to add `u_0ᵀ x` of the tower's own input `x`, un-normalised: `x_0` in a
            model where no other part has a logit (our choice).

    Call arguments:
        x: `(B, K)`, or `(B, F, D)`, which is flattened.

    Returns:
        Logit `(B, 1)`, float32.

    Reference:
        Liu et al., Skip Meta Logit, arXiv 2210.10725.
    """

    takes = {"x": "(B, K) or (B, F, D)"}

    def __init__(
        self,
        hidden_units,
        activation="relu",
        dropout=0.0,
        batch_norm=False,
        mtn_position="skip",
        norm=None,
        linear=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_widths(hidden_units=hidden_units)
        require_choice(("skip", "hidden", "logit"), mtn_position=mtn_position)
        self.hidden_units = hidden_units
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.mtn_position = mtn_position
        self.linear = linear
        self.flatten = keras.layers.Flatten(dtype=self.dtype_policy)
        self.hidden = [
            MLP([units], activation, batch_norm=batch_norm, dtype=self.dtype_policy)
            for units in hidden_units
        ]
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        policy = "float32" if mtn_position == "logit" else self.dtype_policy
        self.norms = copies(norm or MetaTanhNormalization(), len(hidden_units), policy)
        self.norm = self.norms[0]
        self.skip = SkipLogit()

    def build(self, input_shape):
        batch, width = self.flatten.compute_output_shape(input_shape)
        read = [(batch, width)] if self.linear else []
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            layer.build((batch, width))
            width = layer.hidden_units[0]
            norm.build((batch, 1 if self.mtn_position == "logit" else width))
            read.append((batch, width))
        self.skip.build(read)

    def call(self, x, training=None):
        x = self.flatten(x)
        read = [x] if self.linear else []
        for at, (layer, norm) in enumerate(zip(self.hidden, self.norms, strict=True)):
            h = layer(self.drop(x) if at else x)  # (B, D_i)
            normed = h if self.mtn_position == "logit" else norm(h)
            read.append(normed)
            x = normed if self.mtn_position == "hidden" else h
        terms = self.skip.terms(read)  # (B, 1) each
        if self.mtn_position == "logit":
            first = len(terms) - len(self.norms)
            terms[first:] = [norm(t) for norm, t in zip(self.norms, terms[first:], strict=True)]
        return sum(ops.cast(term, "float32") for term in terms)

    def compute_output_shape(self, input_shape):
        return input_shape[0], 1
