"""From a trained model to a service: files that need neither Keras nor this package to run."""

from keras_ctr.serving.artefact import Artefact, verify
from keras_ctr.serving.exporting import FORMATS, QUANTIZED, export
from keras_ctr.serving.rows import feeds

__all__ = ["FORMATS", "QUANTIZED", "Artefact", "export", "feeds", "verify"]
