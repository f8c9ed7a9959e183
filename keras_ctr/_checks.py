"""Checks of arguments, with errors that say what would fit. No Keras.

`require_*` check what they are given; `RULES` says which of them holds for the arguments that
constructors share, so that an argument means and takes the same in every layer and model.
"""

import difflib
import numbers


def require_positive(**sizes):
    """Raises `ValueError` unless every named size is a whole number and at least 1."""
    for name, size in sizes.items():
        if not _is_size(size):
            raise ValueError(
                f"`{name}` must be at least 1, a whole number. Received: {name}={size!r}"
            )


def require_not_negative(**given):
    """Raises `ValueError` unless every named number is at least 0."""
    for name, number in given.items():
        _require_number(name, number)
        if not number >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={number!r}")


def require_whole(**given):
    """Raises `ValueError` unless every named number is whole and at least 0."""
    for name, number in given.items():
        if not _is_size(number) and not (number == 0 and isinstance(number, numbers.Integral)):
            raise ValueError(
                f"`{name}` must be a whole number, at least 0. Received: {name}={number!r}"
            )


def require_divisor(of, width, **sizes):
    """Raises `ValueError` unless every named size divides `width`, which the error calls `of`."""
    for name, size in sizes.items():
        if size < 1 or width % size:
            fitting = [number for number in range(1, width + 1) if width % number == 0]
            raise ValueError(
                f"`{name}` must divide {of} {width}: one of {fitting}. Received: {name}={size}"
            )


def require_even(**sizes):
    """Raises `ValueError` unless every named size is even and at least 2."""
    for name, size in sizes.items():
        if size < 2 or size % 2:
            raise ValueError(f"`{name}` must be even. Received: {name}={size}")


def require_choice(known, **choices):
    """Raises `ValueError` unless every named choice is one of the `known` ones."""
    for name, choice in choices.items():
        if choice not in known:
            raise ValueError(f"`{name}` must be one of {known}. Received: {name}={choice!r}")


def _require_number(name, number):
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise ValueError(f"`{name}` must be a number. Received: {name}={number!r}")


def require_rate(**rates):
    """Raises `ValueError` unless every named rate is a number in `[0, 1)`."""
    for name, rate in rates.items():
        _require_number(name, rate)
        if not 0 <= rate < 1:
            raise ValueError(f"`{name}` must lie in [0, 1). Received: {name}={rate!r}")


def require_switch(**switches):
    """Raises `ValueError` unless every named switch is `True` or `False`."""
    for name, switch in switches.items():
        if not isinstance(switch, bool):
            raise ValueError(f"`{name}` must be True or False. Received: {name}={switch!r}")


def require_instance(kind, what, **given):
    """Raises `ValueError` unless every named object is an instance of `kind`, which `what` names.

    A class in place of an object, the likeliest slip, is named as such.
    """
    for name, value in given.items():
        if isinstance(value, type):
            raise ValueError(
                f"`{name}` must be {what}, not a class: did you forget the brackets, "
                f"`{name}={value.__name__}(...)`? Received: {name}={value!r}"
            )
        if not isinstance(value, kind):
            raise ValueError(f"`{name}` must be {what}. Received: {name}={value!r}")


def require_layer(**given):
    """Raises `ValueError` unless every named object is a Keras layer."""
    import keras  # here: whoever has a layer in hand has imported it

    require_instance(keras.Layer, "a layer", **given)


def require_activation(**given):
    """Raises `ValueError` unless every named activation is a name or a function."""
    for name, value in given.items():
        if isinstance(value, type) or not (isinstance(value, str) or callable(value)):
            require_instance((str,), "the name of an activation, or a function", **{name: value})


def require_widths(**lists):
    """Raises `ValueError` unless every named list holds at least one width, all at least 1."""
    for name, widths in lists.items():
        whole = isinstance(widths, list | tuple) and all(_is_size(width) for width in widths)
        if not whole or not widths:
            raise ValueError(
                f"`{name}` must list at least one positive width, whole numbers. "
                f"Received: {name}={widths!r}"
            )


def _is_size(number):
    return isinstance(number, numbers.Integral) and not isinstance(number, bool) and number >= 1


def _size_or_widths(**given):
    for name, value in given.items():
        (require_widths if isinstance(value, list | tuple) else require_positive)(**{name: value})


def _tower(**given):
    for name, value in given.items():
        if not isinstance(value, str):  # the names are checked where they are known
            require_instance(_layer(), "a layer, or the name of a tower", **{name: value})


def _residual(**given):
    from keras_ctr.layers.residuals import Residual

    require_instance(Residual, "a residual, an object of `keras_ctr.layers.residuals`", **given)


def _layer():
    import keras

    return keras.Layer


_POSITIVE = (
    "attention_dim block_size block_units dilation dim embedding_dim every expansion "
    "feed_forward_units fm_tokens iterations linear_tokens merge_size num_active num_bases "
    "num_blocks num_cross_layers num_experts num_exponential_layers num_heads num_layers "
    "num_linear_layers num_neurons num_recent num_tokens period position_dim streams "
    "token_dim top_k"
)
_WHOLE = "hide_recent inner_layers num_context rank"
_SWITCHES = (
    "auxiliary batch_norm block_norm causal constant_weights diagonal dynamic embedding_norm "
    "feature_vectors layer_norm linear pyramid return_sequences separator softmax use_bias"
)
# What constructors share, by the argument's name: one vocabulary, one rule.
RULES = {
    **dict.fromkeys(_POSITIVE.split(), require_positive),
    **dict.fromkeys(_WHOLE.split(), require_whole),
    **dict.fromkeys(_SWITCHES.split(), require_switch),
    **dict.fromkeys(("dropout", "attention_dropout", "linear_dropout"), require_rate),
    **dict.fromkeys(("aux_weight", "epsilon", "negative_slope"), require_not_negative),
    **dict.fromkeys(("bottom_units", "cin_units", "fm_units", "second_units"), require_widths),
    **dict.fromkeys(("residual", "first", "second"), _residual),
    **dict.fromkeys(
        ("attention", "cross", "feed_forward", "inner", "layer", "mixing", "norm", "outer")
        + ("router", "sublayer", "unit"),
        require_layer,
    ),
    "activation": require_activation,
    "hidden_units": _size_or_widths,
    "tower": _tower,
}


def check_arguments(known, given, rules):
    """Checks arguments by their names, before a constructor works with them.

    Args:
        known: `{name: default}` of the constructor; `None` passes where it is the default.
        given: `{name: value}`.
        rules: `{name: function(**{name: value})}`, which raises `ValueError`.
    """
    for name, value in given.items():
        if name in rules and not (value is None and known.get(name, 0) is None):
            rules[name](**{name: value})


def unknown(kind, name, known):
    """Returns a `ValueError` for `name`, with the nearest of the `known` names and all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")
