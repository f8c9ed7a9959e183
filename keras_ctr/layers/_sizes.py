"""Checks of arguments, with errors that say what would fit."""

import numbers


def require_positive(**sizes):
    """Raises `ValueError` unless every named size is a whole number and at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or size < 1:
            raise ValueError(
                f"`{name}` must be at least 1, a whole number. Received: {name}={size!r}"
            )


def require_not_negative(**given):
    """Raises `ValueError` unless every named number is at least 0."""
    for name, number in given.items():
        if not number >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={number!r}")


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


def require_widths(**lists):
    """Raises `ValueError` unless every named list holds at least one width, all at least 1."""
    for name, widths in lists.items():
        if not isinstance(widths, list | tuple) or not widths or min(widths) < 1:
            raise ValueError(
                f"`{name}` must list at least one positive width. Received: {name}={widths!r}"
            )
