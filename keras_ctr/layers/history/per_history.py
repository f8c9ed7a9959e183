from keras import ops

from keras_ctr._checks import unknown
from keras_ctr.layers.copies import copies
from keras_ctr.layers.schema_layer import SchemaLayer


class PerHistory(SchemaLayer):
    """Gives every behaviour history its target, and a copy of a layer that reads the two.

    The target of a history is the field it is `of` in the schema: `Sequence("clicks", of="item")`
    is read with the embedding of `item`; one that no column is the target of, such as a gap in time
    or a `Bag` with `tokens`, with zeros. Histories that tell of the same events, such as the items
    and the categories of all clicks, can be put side by side: then events and targets are
    concatenated, as most papers have it.

    Args:
        layer: pattern of a layer that is called as `layer(target, events, mask)`; each history
            gets a copy.
        groups: lists of names of sequences that tell of the same events, step by step. A sequence
            in no group is by itself. `None`: all of them are.
        schema: a `Schema`. Inside a model, `model.adapt` sets it.

    Call arguments:
        x: field embeddings `(B, F, D)`, categorical columns first.
        histories: list (of any length) with, per sequence, its events `(B, S, D)` and their mask
            `(B, S)`, as `FeatureEmbedding(pool=None)` returns it.

    Returns:
        Tuple of what the copies return, groups first; empty without histories.

    Raises:
        ValueError: a name in `groups` is no sequence, stands there twice, or has another `length`
            or `keep` than the others in its group.
    """

    takes = {"x": "(B, F, D)", "histories": ("(B, S, D)", "(B, S)")}

    def __init__(self, layer, groups=None, schema=None, **kwargs):
        super().__init__(schema, **kwargs)
        [self.layer] = copies(layer, 1, self.dtype_policy)
        self.groups = groups

    def adapt(self, schema):
        """Sets the schema, and checks `groups` against it."""
        groups = list(self.groups or [])
        if not all(isinstance(group, list | tuple) and group for group in groups):
            raise ValueError(
                "`groups` must be a list of lists of names of sequences, such as "
                f"[['items', 'categories']]. Received: groups={self.groups!r}"
            )
        lengths = {history.name: (history.length, history.keep) for history in schema.histories}
        grouped = [name for group in groups for name in group]
        if grouped and not lengths:
            raise ValueError(
                f"`groups` needs a schema with a `Sequence`. Received: groups={self.groups!r}, and "
                f"the columns {[feature.name for feature in schema]}"
            )
        for name in grouped:
            if name not in lengths:
                raise unknown("sequence in `groups`:", name, lengths)
            if grouped.count(name) > 1:
                raise ValueError(f"`groups` must hold a sequence once. Received twice: {name}")
        for group in groups:
            if len({lengths[name] for name in group}) != 1:
                raise ValueError(
                    "Sequences of one group must have one `length` and one `keep`. Received: "
                    f"{ {name: lengths[name] for name in group} }"
                )
        super().adapt(schema)

    def build(self, x_shape, histories_shape=()):  # Keras leaves the shape of an empty list out
        self.require_schema()
        self.adapt(self.schema)
        histories = {history.name: history for history in self.schema.histories}
        sequences = list(histories)
        groups = [list(group) for group in self.groups or []]
        alone = [[name] for name in sequences if name not in sum(groups, [])]
        self.members = [[sequences.index(name) for name in group] for group in groups + alone]
        of = [getattr(history, "of", None) for history in histories.values()]
        self.targets = [
            [self.schema.position(of[at]) if isinstance(of[at], str) else None for at in members]
            for members in self.members
        ]
        self.copies = [self.layer, *copies(self.layer, len(self.members), self.dtype_policy)[1:]]
        batch, _, width = x_shape
        for layer, members in zip(self.copies, self.members, strict=False):
            length, wide = histories_shape[members[0]][0][1], len(members) * width
            layer.build((batch, wide), (batch, length, wide), (batch, length))

    def call(self, x, histories, training=None):
        found = []
        for layer, members, targets in zip(self.copies, self.members, self.targets, strict=False):
            target = [ops.zeros_like(x[:, 0]) if at is None else x[:, at] for at in targets]
            target = ops.concatenate(target, axis=-1)  # (B, K)
            events = ops.concatenate([histories[at][0] for at in members], axis=-1)  # (B, S, K)
            mask = histories[members[0]][1]
            for at in members[1:]:
                mask = ops.logical_or(mask, histories[at][1])
            found.append(layer(target, events, mask))
        return tuple(found)
