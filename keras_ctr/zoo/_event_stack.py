"""What models share in which field tokens follow the events of histories through a stack."""

from keras_ctr.layers.token.masking import is_shared


def behind_events(model, x, histories, training=None):
    """Returns field tokens after the stack, in which they stand behind the events.

    A history that all rows share passes the stack once.

    Args:
        model: with `tokenize_events` and a causal `stack`.
        x: field tokens `(B, T, D)`.
        histories: list of `(events, mask)`, as `FeatureEmbedding(pool=None)` returns it.
        training: Keras's.
    """
    if is_shared(histories, x):
        events, mask = model.tokenize_events(x, histories, apart=True)  # (1, P, D)
        return model.stack(x, mask=mask, first=events)
    x, mask = model.tokenize_events(x, histories)  # (B, P + T, D)
    return model.stack(x, mask=mask, training=training)
