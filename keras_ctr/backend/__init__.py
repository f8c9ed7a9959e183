"""The one place that knows which backend runs: what `_jax`, `_tensorflow` and `_torch` all have.

Each of them defines:

- `distinct(owner, ids, present, max_distinct)`: the fields of an `Index`. Equal ids are found
  without a sort: each position writes its number into `owner`, at the row of its id, and reads who
  was last. `max_distinct`: where XLA compiles the step, so that shapes cannot depend on ids, how
  many distinct ids there can be; otherwise None;
- `read_rows(function, index, variables)`: `function(rows of each variable)` for the rows of an
  index, without a gradient to the variables; and the rows of each variable themselves, or None
  where they are better read again;
- `write_rows(function, index, variables, stored, others, given)`: writes new rows of the variables,
  in place. `stored` is the second result of `read_rows`. `function` gets three lists, the rows of
  `variables`, those of `others`, and `given`, and returns the new rows of `variables`. Where shapes
  are static, both go through the distinct ids in chunks, so that the work is that of the distinct
  ids, not of all positions;
- `settler(function)`: returns a function of `(table, state, *numbers)` that sets the table to
  `function(table, state, *numbers)`, in place, chunk by chunk;
- `caller(model)`: a function of a batch of NumPy arrays that gives the model's output outside of
  training, compiled where the backend compiles, with the weights that the model has at the time;
- `traceable(layer)`: the layer's call as it can be traced for the dtypes of its outputs;
- `RowTrainer`: the training step;
- `SHAPES_ARE_STATIC`: whether a step knows no shape that depends on ids, also where XLA does not
  compile it;
- `SHAPES_ARE_COMPILED`: whether `caller` compiles anew for every shape;
- `DENSE_UP_TO`: rows up to which a table is trained densely, where that is the faster way.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_ctr.backend import _jax as _module
elif keras.backend.backend() == "tensorflow":
    from keras_ctr.backend import _tensorflow as _module
elif keras.backend.backend() == "torch":
    from keras_ctr.backend import _torch as _module
else:
    raise ImportError(
        "keras_ctr trains on jax, tensorflow and torch. "
        f"Received: KERAS_BACKEND={keras.backend.backend()}"
    )

DENSE_UP_TO = _module.DENSE_UP_TO
RowTrainer = _module.RowTrainer
SHAPES_ARE_COMPILED = _module.SHAPES_ARE_COMPILED
SHAPES_ARE_STATIC = _module.SHAPES_ARE_STATIC
caller = _module.caller
distinct = _module.distinct
read_rows = _module.read_rows
settler = _module.settler
traceable = _module.traceable
write_rows = _module.write_rows
