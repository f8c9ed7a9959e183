"""Checks of arguments, with errors that say what would fit."""


def require_positive(**sizes):
    """Raises `ValueError` unless every named size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={size}")


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


def require_widths(hidden_units):
    """Raises `ValueError` unless `hidden_units` lists at least one width, all at least 1."""
    if not hidden_units or any(units < 1 for units in hidden_units):
        raise ValueError(
            "`hidden_units` must list at least one positive width. "
            f"Received: hidden_units={hidden_units}"
        )
