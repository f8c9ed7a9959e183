"""A callback that ends training in time."""

import time

import keras


class Deadline(keras.callbacks.Callback):
    """Stops training after the step at which a moment has passed.

    Args:
        moment: of `time.monotonic`, in seconds.
    """

    def __init__(self, moment):
        super().__init__()
        self.moment = moment

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() >= self.moment:
            self.model.stop_training = True
