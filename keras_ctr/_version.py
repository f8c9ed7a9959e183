"""The version, in the one place where the build backend reads it."""

__version__ = "0.2.0"
