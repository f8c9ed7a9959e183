"""The one place that knows which backend runs: what `_jax`, `_tensorflow` and `_torch` all have.

Each of them defines:

- `take(variable, ids)`: rows, without a gradient to the table;
- `distinct(owner, ids, present, static)`: the fields of an `Index`. Equal ids are found without a
  sort: each position writes its number into `owner`, at the row of its id, and reads who was last.
  `static`: whether XLA compiles the step, so that shapes cannot depend on ids;
- `write(variable, index, rows)`: writes rows in place;
- `settled_in_place(function, table, state)`: `table = function(table, state)`, chunk by chunk;
- `RowTrainer`: the training step;
- `DENSE_UP_TO`: rows up to which a table is trained densely, where that is the faster way.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_ctr.training import _jax as _module
elif keras.backend.backend() == "tensorflow":
    from keras_ctr.training import _tensorflow as _module
elif keras.backend.backend() == "torch":
    from keras_ctr.training import _torch as _module
else:
    raise ImportError(
        "keras_ctr trains on jax, tensorflow and torch. "
        f"Received: KERAS_BACKEND={keras.backend.backend()}"
    )

DENSE_UP_TO = _module.DENSE_UP_TO
RowTrainer = _module.RowTrainer
distinct = _module.distinct
settled_in_place = _module.settled_in_place
take = _module.take
write = _module.write
