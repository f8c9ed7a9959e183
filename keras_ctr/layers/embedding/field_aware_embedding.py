from keras import ops

from keras_ctr.layers.embedding.feature_embedding import FeatureEmbedding
from keras_ctr.layers.interaction.pairs import pair_indices


class FieldAwareEmbedding(FeatureEmbedding):
    """The way into field-aware models: for each value, one vector per *other* field.

    The vectors of a value lie side by side in one row of the packed table, so that a batch still
    costs one gather. The table is `F - 1` times as wide as that of `FeatureEmbedding`.

    Args:
        dim: width `D` of each vector.
        initializer: of table rows and numeric vectors, as in `FeatureEmbedding`.
        schema: a `Schema` whose sizes are known. Inside a model, `model.adapt` sets it.

    Call arguments:
        batch: dict of packed arrays as in `Schema`. A history is one more field, the mean of its
            events.

    Returns:
        `(B, F, F - 1, D)`: at `[:, i, k]` the vector of field `i` for the `k`-th of the others.

    Reference:
        Juan et al., "Field-aware Factorization Machines", RecSys 2016.
    """

    def __init__(self, dim, initializer=None, schema=None, **kwargs):
        super().__init__(dim, "mean", initializer, schema, **kwargs)

    @property
    def row_width(self):
        return self.dim * (self._num_fields() - 1)

    def build(self, input_shape):
        if self.schema is not None:
            pair_indices(self._num_fields())  # there must be another field
        super().build(input_shape)

    def call(self, batch):
        fields = self._num_fields()
        return ops.reshape(super().call(batch), (-1, fields, fields - 1, self.dim))

    def _num_fields(self):
        return len(self.schema.fields)
