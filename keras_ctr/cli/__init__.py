"""`keras-ctr`: from raw files to a trained model and its service, on the command line."""

from keras_ctr.cli import describing, serving, synthesis  # noqa: F401  commands of this program
from keras_ctr.cli.commands import app, main, read_config

__all__ = ["app", "main", "read_config"]
