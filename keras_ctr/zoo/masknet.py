"""MaskNet. Card: zoo/masknet/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr._checks import require_positive
from keras_ctr.zoo._base import CTRModel


class MaskNet(CTRModel):
    """Hidden layers behind masks made from the row itself, side by side, then a tower.

    `p = σ(b + wᵀ MLP([block_1; …; block_n]))`, `block = ReLU(LN(W (mask(e) ⊙ LN(e))))`: the
    paper's parallel MaskNet.

    Args:
        embedding_dim: width `D` of the embeddings (the paper's `k`).
        num_blocks: number of blocks `n`.
        block_units: width of each block.
        reduction_ratio: how many times wider the mask's hidden layer is than the embeddings.
        embedding_norm: whether each field's embedding is normalised before it is masked.
        block_norm: whether each block normalises before its activation.
        hidden_units: widths of the tower's layers.
        dropout: rate in the blocks and in the tower.
        activation: of the tower; blocks have ReLU.
        tower: a layer that replaces the tower; `hidden_units` and `activation` are then unused. Or
            the name of one that uses them: `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.

    Example:

    >>> model = keras_ctr.zoo.get("masknet", embedding_dim=4, block_units=5, hidden_units=[8])
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Wang et al., "MaskNet", arXiv 2102.07619, figure 4.
    """

    replaced_by = {"tower": ("hidden_units", "activation")}  # the others also act elsewhere

    def __init__(
        self,
        embedding_dim=10,
        num_blocks=3,
        block_units=64,
        reduction_ratio=2.0,
        embedding_norm=True,
        block_norm=True,
        hidden_units=(400, 400, 400),
        dropout=0.0,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_blocks=num_blocks)
        self.embedding_dim = embedding_dim
        self.num_blocks = num_blocks
        self.block_units = block_units
        self.reduction_ratio = reduction_ratio
        self.embedding_norm = embedding_norm
        self.block_norm = block_norm
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.norm = layers.FieldNormalization() if embedding_norm else None
        self.blocks = [
            layers.MaskBlock(block_units, reduction_ratio, dropout, layer_norm=block_norm)
            for _ in range(num_blocks)
        ]
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        hidden = self.norm(x) if self.embedding_norm else x
        masked = [block([x, hidden], training=training) for block in self.blocks]
        x = ops.concatenate(masked, axis=-1)  # (B, n·block_units)
        return self.click(self.deep(x, training=training), training=training)
