"""From a trained model to a service: files that need neither Keras nor this package to run.

Only `export` needs Keras, which is imported when it is asked for.
"""

from keras_ctr.serving.artefact import Artefact, verify
from keras_ctr.serving.rows import feeds
from keras_ctr.serving.service import serve, service

__all__ = ["FORMATS", "QUANTIZED", "Artefact", "export", "feeds", "serve", "service", "verify"]


def __getattr__(name):
    if name in ("FORMATS", "QUANTIZED", "export"):
        from keras_ctr.serving import exporting

        return getattr(exporting, name)
    raise AttributeError(f"module 'keras_ctr.serving' has no attribute {name!r}")
