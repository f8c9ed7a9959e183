"""What `fit` does between steps: as little as it can."""

import math
import time

import keras

PACE = 0.2  # seconds between two looks at the metrics


class StopWhenFailed(keras.callbacks.Callback):
    """Stops the training, with an error, once its `Guard` has seen a step fail."""

    async_safe = True  # looks at the logs only

    def on_train_batch_end(self, batch, logs=None):
        self._look(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._look(logs)

    def _look(self, logs):
        # What was wrong is read, and the error raised, after Keras has put its state in order.
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise StopNow("The loss is not finite.")


class StopNow(FloatingPointError):
    """Leaves Keras's `fit`."""


class Paced(keras.callbacks.CallbackList):
    """Keras's list of callbacks, which looks at the metrics at the pace of the progress bar.

    Keras fetches all metrics from the device after every step, which makes the host wait for that
    step. Here that is done some times per second, unless a callback wants every step.
    """

    def __init__(self, callbacks, **kwargs):
        super().__init__([StopWhenFailed(), *callbacks], **kwargs)
        own = (keras.callbacks.ProgbarLogger, keras.callbacks.History, StopWhenFailed)
        others = [c for c in self.callbacks if not isinstance(c, own)]
        self._every_step = any(
            _of(c, method) is not getattr(keras.callbacks.Callback, method)
            for c in others
            for method in ("on_batch_end", "on_train_batch_end")
        )
        self._looked = -math.inf

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if self._every_step or now - self._looked >= PACE:
            super().on_train_batch_end(batch, logs)
            self._looked = time.monotonic()


def _of(callback, method):
    """The function behind a method, which may be the object's own, as in `LambdaCallback`."""
    return getattr(getattr(callback, method), "__func__", None)


def callbacks_of(given, x, batch_size, **kwargs):
    """Returns the callbacks of a `fit`: a `Paced` list where the number of steps is known.

    Args:
        given: the user's: None, a callback, a list of them or a `keras.callbacks.CallbackList`.
        x, batch_size: arguments of `fit`.
        **kwargs: further ones: `epochs`, and, if given, `verbose`, `steps_per_epoch` and
            `validation_split`; and the `model` itself.
    """
    if isinstance(given, keras.callbacks.CallbackList):
        return given
    given = [] if given is None else given if isinstance(given, list | tuple) else [given]
    steps = _steps(x, batch_size, kwargs.get("steps_per_epoch"), kwargs.get("validation_split"))
    if steps is None:
        return [StopWhenFailed(), *given]
    verbose = kwargs.get("verbose", "auto")
    return Paced(
        given,
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=kwargs["epochs"],
        steps=steps,
        model=kwargs["model"],
    )


def _steps(x, batch_size, per_epoch, split):
    """Steps per epoch; None if only Keras will know."""
    if per_epoch or split:
        return per_epoch or None
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    lengths = {len(array) for array in x.values()} if isinstance(x, dict) else set()
    return math.ceil(lengths.pop() / (batch_size or 32)) if len(lengths) == 1 else None
