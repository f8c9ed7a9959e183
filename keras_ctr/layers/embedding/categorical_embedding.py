from keras_ctr.features.schema import Schema
from keras_ctr.layers.embedding.feature_embedding import FeatureEmbedding


class CategoricalEmbedding(FeatureEmbedding):
    """`FeatureEmbedding` without numbers and vectors, for a model that reads the values themselves.

    Args:
        dim: embedding width `D`.
        initializer: of table rows, as in `FeatureEmbedding`.
        schema: a `Schema` whose sizes are known. Inside a model, `model.adapt` sets it.

    Call arguments:
        batch: dict of packed arrays as in `Schema`; `"values"` may be among them and is not read.

    Returns:
        `(B, F + number of bags and of sequences, D)`; a history is the mean of its events.
    """

    def __init__(self, dim, initializer=None, schema=None, **kwargs):
        super().__init__(dim, "mean", initializer, schema, **kwargs)

    def adapt(self, schema):
        """Sets the schema. Raises `ValueError` if it has no Categorical, or one without a size."""
        if not schema.categoricals:
            names = [feature.name for feature in schema]
            raise ValueError(
                "`CategoricalEmbedding` embeds names: the schema must have a Categorical column. "
                f"Received: {names}"
            )
        super().adapt(Schema([*schema.categoricals, *schema.bags, *schema.sequences]))
