"""Training whose cost does not grow with the vocabulary: tables are updated row by row.

>>> model = keras_ctr.zoo.get("dnn")
>>> model.compile("adam", table_optimizer=keras_ctr.training.RowWiseAdagrad(0.02))

A table of more than `DENSE_UP_TO` rows (50,000 on PyTorch, 100,000 on TensorFlow, 200,000 on JAX)
is trained so by itself, with a rule derived from the compiled optimizer; a smaller one is faster
when the whole table is rewritten in each step.
"""

from keras_ctr.backend import DENSE_UP_TO, RowTrainer
from keras_ctr.training.guard import Guard
from keras_ctr.training.progress import StopNow, callbacks_of
from keras_ctr.training.rules import FTRL, SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer, get
from keras_ctr.training.tables import CHOICES, tables_of

__all__ = [
    "CHOICES",
    "DENSE_UP_TO",
    "FTRL",
    "SGD",
    "Adagrad",
    "Adam",
    "Guard",
    "RowTrainer",
    "RowWiseAdagrad",
    "StopNow",
    "TableOptimizer",
    "callbacks_of",
    "get",
    "tables_of",
]
