"""EulerNet. Card: zoo/eulernet/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr._checks import require_widths
from keras_ctr.zoo._base import CTRModel


class EulerNet(CTRModel):
    """Embeddings as angles of complex vectors, which layers multiply to learned powers.

    `p = σ(b + wᵀ (r_L + p_L))`, from `r_0 = μ ⊙ cos e` and `p_0 = μ ⊙ sin e`.

    Args:
        embedding_dim: width `D` of the embeddings.
        num_vectors: number of complex vectors of each layer.
        dropout: rate on what a layer multiplies and on what its dense part reads.
        layer_norm: whether each layer normalises its vectors.

    Example:

    >>> model = keras_ctr.zoo.get("eulernet", embedding_dim=4, num_vectors=[3]).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Tian et al., "EulerNet: Adaptive Feature Interaction Learning via Euler's Formula for CTR
        Prediction", SIGIR 2023; code Ethan-TZ/EulerNet.
    """

    def __init__(self, embedding_dim=10, num_vectors=(52,), dropout=0.1, layer_norm=True, **kwargs):
        super().__init__(**kwargs)
        require_widths(num_vectors=num_vectors)
        self.embedding_dim = embedding_dim
        self.num_vectors = num_vectors
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.turn = layers.EulerTransform()
        self.interact = [layers.EulerInteraction(n, dropout, layer_norm) for n in num_vectors]
        self.flatten = keras.layers.Flatten()
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.turn(self.embed(batch))  # real and imaginary parts, each (B, F, D)
        for layer in self.interact:
            x = layer(x, training=training)  # each (B, n, D)
        return self.click(self.flatten(ops.add(*x)))
