import keras
from keras import ops

from keras_ctr._checks import unknown
from keras_ctr.layers.schema_layer import SchemaLayer


class GroupTokenizer(SchemaLayer):
    """Fields to tokens, one token per group of columns that belong together.

    Each group has a projection of its own for the embeddings of its columns, side by side, with an
    RMSNorm in front as in `AutoSplitTokenizer`.

    Args:
        groups: list of lists of names of categorical and numeric columns. Every such column of the
            schema must be in a group; it may be in several.
        dim: token width `D`.
        schema: a `Schema`. Inside a model, `model.adapt` sets it.

    Call arguments:
        x: field embeddings `(B, F, D_e)` in the order of the schema: categorical, then numeric.

    Returns:
        `(B, number of groups, dim)`.

    Reference:
        Zhang et al., "OneTrans", arXiv 2510.26104: the group-wise tokenizer, which the paper finds
        0.10% of AUC worse than its auto-split.
    """

    takes = {"x": "(B, F, D_e)"}

    def __init__(self, groups, dim, schema=None, **kwargs):
        super().__init__(schema, **kwargs)
        if not groups or not all(groups):
            raise ValueError(
                f"`groups` must be lists of column names, none empty. Received: groups={groups}"
            )
        self.groups = groups
        self.dim = dim

    def build(self, input_shape):
        self.require_schema()
        columns = self.schema.fields[: input_shape[1]]
        grouped = {name for group in self.groups for name in group}
        for name in grouped:
            if name not in columns:
                raise unknown("column in `groups`:", name, columns)
        missing = [name for name in columns if name not in grouped]
        if missing:
            raise ValueError(f"`groups` must hold every column. Received none with: {missing}")
        self.members = [[self.schema.position(name) for name in group] for group in self.groups]
        self.norms, self.projections = [], []
        for members in self.members:
            flat = (input_shape[0], len(members) * input_shape[2])
            self.norms.append(keras.layers.RMSNormalization(dtype=self.dtype_policy))
            self.projections.append(keras.layers.Dense(self.dim, dtype=self.dtype_policy))
            self.norms[-1].build(flat)
            self.projections[-1].build(flat)

    def call(self, x):
        tokens = []
        for members, norm, project in zip(self.members, self.norms, self.projections, strict=True):
            group = ops.reshape(ops.take(x, members, axis=1), (-1, len(members) * x.shape[-1]))
            tokens.append(project(norm(group)))
        return ops.stack(tokens, axis=1)
