import keras

from keras_ctr.layers.base import Layer
from keras_ctr.layers.token.self_attention import SelfAttention


class PostNormLayer(Layer):
    """A Transformer layer with its norms after the sums, as in the original.

    `x' = LN(x + dropout(Attention(x)))`, then `LN(x' + dropout(W_2 act(W_1 x' + b_1) + b_2))`.

    Args:
        num_heads: attention heads `H`; must divide the width `D`.
        hidden_units: width of the feed-forward part's hidden layer; `None`: `D`.
        activation: name of a Keras activation.
        dropout: rate on both increments.

    Call arguments:
        x: tokens `(B, T, D)`.
        mask: optional `(B, T)` bool, True where there is a token: the others are not attended to.

    Returns:
        `(B, T, D)`.

    Reference:
        Vaswani et al., arXiv 1706.03762.
    """

    takes = {"x": "(B, T, D)", "mask": "(B, T)"}

    def __init__(self, num_heads=8, hidden_units=None, activation="relu", dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.hidden_units = hidden_units
        self.activation = activation
        self.dropout = dropout
        options = {"dtype": self.dtype_policy}
        self.attend = SelfAttention(num_heads, **options)
        self.drop = keras.layers.Dropout(dropout, **options)
        # Embeddings start at 1e-4: a larger epsilon would drown them.
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-6, **options) for _ in range(2)]

    def build(self, input_shape):
        width = input_shape[-1]
        hidden = self.hidden_units or width
        self.up = keras.layers.Dense(hidden, self.activation, dtype=self.dtype_policy)
        self.down = keras.layers.Dense(width, dtype=self.dtype_policy)
        for part in (self.attend, *self.norms, self.up):
            part.build(input_shape)
        self.down.build((*input_shape[:-1], hidden))

    def call(self, x, mask=None, training=None):
        first, second = self.norms
        x = first(x + self.drop(self.attend(x, mask=mask)))
        return second(x + self.drop(self.down(self.up(x))))

    def compute_output_shape(self, input_shape):
        return input_shape
