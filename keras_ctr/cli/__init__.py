"""`keras-ctr`: from raw files to a trained model and its service, on the command line."""

from keras_ctr.cli import serving  # noqa: F401  its commands belong to the same program
from keras_ctr.cli.commands import app, main, read_config

__all__ = ["app", "main", "read_config"]
