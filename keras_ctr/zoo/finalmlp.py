"""FinalMLP. Card: zoo/finalmlp/README.md."""

from keras import ops

from keras_ctr import layers
from keras_ctr.zoo._base import CTRModel


class FinalMLP(CTRModel):
    """Two towers that see the embeddings differently: `σ(b + w_xᵀ x + w_yᵀ y + Σ_h x_hᵀ W_h y_h)`.

    Args:
        embedding_dim: width `D` of the embeddings.
        hidden_units: widths of the first tower's layers.
        second_units: widths of the second tower's layers.
        num_heads: heads `H` of the bilinear fusion; must divide the last width of both towers.
        dropout: rate in both towers.
        batch_norm: whether both towers normalise before each activation.
        gate_units: widths of each feature selection's hidden layers; `None`: no selection, both
            towers see the same.
        contexts: of each of the two selections, the name of the column from which it sees the row,
            or a list of names: `("user", ["item", "hour"])`. `None`: it is the same for all rows.

    Example:

    >>> model = keras_ctr.zoo.get("finalmlp", embedding_dim=4, contexts=("user", None))
    >>> model.adapt(schema).predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Mao et al., "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction", AAAI 2023,
        arXiv 2304.00902, figure 1.
    """

    def __init__(
        self,
        embedding_dim=10,
        hidden_units=(400, 400, 400),
        second_units=(400, 400, 400),
        num_heads=10,
        dropout=0.0,
        batch_norm=False,
        gate_units=(400,),
        contexts=(None, None),
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(contexts, list | tuple) or len(contexts) != 2:
            raise ValueError(
                "`contexts` must hold two contexts, one for each selection: a name of a column, a "
                f"list of names, or None. Received: contexts={contexts!r}"
            )
        self.embedding_dim = embedding_dim
        self.hidden_units = hidden_units
        self.second_units = second_units
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.gate_units = gate_units
        self.contexts = contexts
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.select = [layers.FeatureSelection(gate_units) for _ in contexts] if gate_units else []
        self.towers = [
            layers.MLP(units, dropout=dropout, batch_norm=batch_norm)
            for units in (hidden_units, second_units)
        ]
        self.fuse = layers.BilinearFusion(num_heads)
        self.click = layers.Click()

    def call(self, batch, training=None):
        x = self.embed(batch)  # (B, F, D)
        seen = [x, x]
        if self.select:
            seen = [
                select(x if context is None else [x, self._context(x, context)])
                for select, context in zip(self.select, self.contexts, strict=True)
            ]
        x, y = (tower(s, training=training) for tower, s in zip(self.towers, seen, strict=True))
        return self.click([x, y, self.fuse([x, y])])

    def _context(self, x, names):
        """The embeddings of the named columns, flat."""
        names = [names] if isinstance(names, str) else names
        return ops.concatenate([x[:, self.schema.position(name)] for name in names], axis=-1)
