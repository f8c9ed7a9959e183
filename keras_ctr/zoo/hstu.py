"""HSTU. Card: zoo/hstu/README.md."""

import keras
from keras import ops

from keras_ctr import layers
from keras_ctr._checks import require_divisor, require_positive
from keras_ctr.layers.token.masking import is_shared
from keras_ctr.zoo._base import CTRModel


class HSTU(CTRModel):
    """A row as one sequence, `[context; events; candidate]`, read through softmax-free attention.

    Per layer `X' = X + W_o(LN(AV) ⊙ U)` with `A = SiLU(QKᵀ/√D_h + rab) / N` under a causal mask,
    and no feed-forward part. The logit reads the candidate, which comes last and has seen the rest.

    The candidate is what a history could hold: the columns that sequences are `of`, as one token.
    All other columns are the context. Without sequences in the data, both are made from all
    columns, and there are no events in between.

    Args:
        embedding_dim: width of the embeddings.
        token_dim: token width `D`; `num_heads` must divide it.
        num_tokens: number of context tokens `T_c`.
        num_layers: number of layers.
        num_heads: attention heads `H`.
        hidden_units: widths of the layers that read the candidate.
        dropout: rate on every increment and in those layers.
        tower: a layer that replaces those layers, or the name of one with their widths and dropout:
            `"mlp"`, `"sml"` or `"tabm"`, see `layers.get_tower`.
        residual: how layers are connected, an object of `layers.residuals`; default `Identity()`.

    Example:

    >>> model = keras_ctr.zoo.get("hstu", token_dim=8, num_layers=2).adapt(schema)
    >>> model.predict(batch, verbose=0).shape
    (4, 1)

    Reference:
        Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for
        Generative Recommendations", arXiv 2402.17152, in its ranking form. Sizes are ours.
    """

    replaced_by = {"tower": ("hidden_units",)}  # the others also act elsewhere

    def __init__(
        self,
        embedding_dim=16,
        token_dim=64,
        num_tokens=8,
        num_layers=4,
        num_heads=4,
        hidden_units=(512,),
        dropout=0.0,
        tower=None,
        residual=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(num_tokens=num_tokens, num_layers=num_layers)
        require_divisor("`token_dim` =", token_dim, num_heads=num_heads)
        self.embedding_dim = embedding_dim
        self.token_dim = token_dim
        self.num_tokens = num_tokens
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.tower = tower
        self.residual = residual
        self.depth = layers.copy_of(residual or layers.residuals.Identity())
        self.embed = layers.FeatureEmbedding(embedding_dim, pool=None)
        self.tokenize_candidate = layers.AutoSplitTokenizer(1, token_dim)
        self.tokenize_events = layers.SequenceTokenizer()
        self.tokenize_context = layers.AutoSplitTokenizer(num_tokens, token_dim)
        # Only the candidate is read in the end: in the last layer nothing else has to ask.
        keeps = [None] * (num_layers - 1) + [1]
        units = [layers.TransductionUnit(num_heads, num_tokens, keep, dropout) for keep in keeps]
        self.stack = layers.Stack(units, self.depth)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.deep = layers.get_tower(tower, hidden_units, "silu", dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        fields, histories = self.embed(batch)
        context, candidate = self.split(fields)
        candidate = self.tokenize_candidate(candidate)
        if apart := is_shared(histories, fields):  # and the context as well
            x, mask = self.tokenize_events(candidate, histories, apart=True)
            context = context[:1]
        else:
            x, mask = self.tokenize_events(candidate, histories)
        x = ops.concatenate([self.tokenize_context(context), x], axis=1)  # (B, T_c + S + 1, D)
        mask = ops.pad(mask, ((0, 0), (self.num_tokens, 0)), constant_values=True)
        if apart:
            x = self.stack(candidate, mask=mask, first=x)
        else:
            x = self.stack(x, mask=mask, training=training)  # (B, 1, D)
        return self.click(self.deep(self.norm(x), training=training), training=training)

    def shares_histories(self, differing):
        """Events see the context: it must be the same for all rows."""
        schema = self.embed.schema
        places = {schema.position(name) for name in differing}
        candidate = set(self._candidate())
        return places <= candidate and len(candidate) < len(schema.fields) - len(schema.sequences)

    def split(self, fields):
        """Returns the fields `(B, F, D_e)` of the context and those of the candidate."""
        candidate, every = self._candidate(), range(fields.shape[1])
        context = [position for position in every if position not in candidate]
        return [ops.take(fields, part or [*every], axis=1) for part in (context, candidate)]

    def _candidate(self):
        """Places of the columns that sequences are `of`."""
        schema = self.embed.schema
        targets = {sequence.of for sequence in schema.sequences if isinstance(sequence.of, str)}
        return sorted(schema.position(name) for name in targets)
