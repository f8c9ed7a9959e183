"""What Keras does with models, done with ours: every way gives what the plain one gives."""

from functools import partial

import exchange
import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import testing, zoo
from keras_ctr.backend.internals import layers_of
from keras_ctr.layers import FeatureEmbedding

SCHEMA = testing.example_schema()
BATCH, LABEL = testing.example_batch(SCHEMA)
TENSORS = {key: ops.convert_to_tensor(array) for key, array in BATCH.items()}
ROWS = len(LABEL)
STEP = 16  # rows

# Of each kind one: fields with tables of rows, a history with an auxiliary loss, a deep stack.
KINDS = {"dcnv2": "rows", "dien": "rows", "deres": "dense"}


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def small(name, seed=0):
    keras.utils.set_random_seed(seed)
    return zoo.get(name, **exchange.SMALL[name]).adapt(SCHEMA)


def same(one, other, tolerance=1e-6):
    np.testing.assert_allclose(numpy(one), numpy(other), atol=tolerance, rtol=tolerance)


class Outer(keras.Model):
    """A model of the user's own around one of ours."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x, training=None):
        return self.inner(x, training=training)


def symbols():
    return {
        key: keras.Input(array.shape[1:], dtype=str(array.dtype), name=key)
        for key, array in BATCH.items()
    }


class TestAnyModel:
    """Every model of the zoo, without training: it is the same wherever it stands."""

    # They are the same everywhere: all of them where nothing is compiled, else one of each kind.
    @pytest.fixture(
        scope="class",
        params=[n if n in KINDS else pytest.param(n, marks=pytest.mark.once) for n in zoo.names()],
    )
    def made(self, request):
        model = small(request.param)
        return model, numpy(model(TENSORS))

    def test_cloned_and_given_its_weights(self, made):
        model, p = made
        twin = keras.models.clone_model(model)
        twin.set_weights(model.get_weights())
        same(twin(TENSORS), p)

    def test_weights_from_a_file(self, made, tmp_path):
        model, p = made
        model.save_weights(tmp_path / "a.weights.h5")
        twin = small(exchange_name(model), seed=1)
        assert np.abs(numpy(twin(TENSORS)) - p).max() > 0
        twin.load_weights(tmp_path / "a.weights.h5")
        same(twin(TENSORS), p)

    def test_in_a_functional_model(self, made, tmp_path):
        """Called twice there, inside another one, cloned, saved and loaded."""
        model, p = made
        inputs = symbols()
        inner = keras.Model(inputs, [model(inputs), model(inputs)])
        assert len(inner.weights) == len(model.weights)
        assert inner.outputs[0].shape == (None, 1) and inner.outputs[0].dtype == "float32"
        for output in inner(TENSORS):
            same(output, p)
        inputs = symbols()
        outer = keras.Model(inputs, keras.layers.Dense(1)(inner(inputs)[1]))
        outer.save(tmp_path / "outer.keras")
        cloned = keras.models.clone_model(outer)
        cloned.set_weights(outer.get_weights())
        for twin in (cloned, keras.saving.load_model(tmp_path / "outer.keras")):
            same(twin(TENSORS), outer(TENSORS))

    def test_inside_a_model_of_the_users_own(self, made):
        model, p = made
        outer = Outer(model)
        same(outer(TENSORS), p)
        assert len(outer.weights) == len(model.weights)

    def test_shown(self, made):
        model, _ = made
        lines = []
        model.summary(print_fn=lambda line, **_: lines.append(line), expand_nested=True)
        assert f"{model.count_params():,}" in "\n".join(lines)
        assert model.name in keras.utils.model_to_dot(model).to_string()


def exchange_name(model):
    return next(name for name, cls in zoo.MODELS.items() if cls is type(model))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return ROWS // STEP

    def __getitem__(self, at):
        part = slice(at * STEP, (at + 1) * STEP)
        return {key: array[part] for key, array in BATCH.items()}, LABEL[part]


def generator():
    while True:
        yield from (Batches()[at] for at in range(ROWS // STEP))


def tf_data():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((BATCH, LABEL)).batch(STEP)


def data_loader():
    import torch

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return ROWS

        def __getitem__(self, at):
            return {key: array[at] for key, array in BATCH.items()}, LABEL[at]

    return torch.utils.data.DataLoader(Rows(), batch_size=STEP)


def fitted(name, *data, fit=None, optimizer=None, model=None, **compiled):
    """Returns the history of three epochs over the same batches, and the model."""
    model = model or small(name)
    compiled = {"table_optimizer": KINDS[name], **compiled}
    model.compile(optimizer or keras.optimizers.Adam(0.01), **compiled)
    fit = {"epochs": 3, "shuffle": False, "verbose": 0, **(fit or {})}
    if not data:
        data, fit = (BATCH, LABEL), {"batch_size": STEP, **fit}
    return model.fit(*data, **fit).history, model


@pytest.fixture(scope="module")
def plain():
    """Function of a name: the losses of the plain way."""
    found = {}

    def losses(name):
        if name not in found:
            found[name] = fitted(name)[0]["loss"]
            assert found[name][-1] < found[name][0]
        return found[name]

    return losses


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))


def schedule():
    return keras.optimizers.schedules.PiecewiseConstantDecay([100], [0.01, 0.0])


DATA = {
    "tf.data": lambda: ((tf_data(),), {}),
    "DataLoader": lambda: ((data_loader(),), {}),
    "generator": lambda: ((generator(),), {"steps_per_epoch": ROWS // STEP}),
    "PyDataset": lambda: ((Batches(),), {}),
}


@pytest.mark.parametrize("kind", DATA)
def test_every_kind_of_data_gives_the_same(plain, kind):
    data, fit = DATA[kind]()
    history, _ = fitted("dcnv2", *data, fit=fit)
    np.testing.assert_allclose(history["loss"], plain("dcnv2"), rtol=1e-5)


# What is compiled or weighted depends on the model, the rest does not.
STEPS = {
    "compiled": (KINDS, lambda: {"jit_compile": True}),
    "not compiled": (["dcnv2"], lambda: {"jit_compile": False}),
    "eager": (["dcnv2", "dien"], lambda: {"run_eagerly": True}),
    "weights of rows": (["dcnv2", "dien"], lambda: {"fit": {"sample_weight": np.ones(ROWS)}}),
    "weights of classes": (["dien"], lambda: {"fit": {"class_weight": {0: 1.0, 1: 1.0}}}),
    "scaled loss": (["dcnv2"], lambda: {"optimizer": scaled()}),
    "schedule": (["dcnv2"], lambda: {"optimizer": keras.optimizers.Adam(schedule())}),
    "several at once": (["dcnv2"], lambda: {"steps_per_execution": 3}),
}
if keras.backend.backend() == "torch":
    STEPS["compiled"] = (["deres"], STEPS["compiled"][1])  # tracing the others takes a minute
    del STEPS["several at once"]  # which Keras has not there


@pytest.mark.parametrize(("name", "way"), [(n, way) for way in STEPS for n in STEPS[way][0]])
def test_every_kind_of_step_gives_the_same(plain, name, way, monkeypatch):
    if keras.backend.backend() == "torch":
        import torch

        # Traced, but not made into machine code: that takes long.
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    history, _ = fitted(name, **STEPS[way][1]())
    np.testing.assert_allclose(history["loss"], plain(name), rtol=1e-4)


def test_weights_of_classes_are_weights_of_rows():
    of_rows = np.where(LABEL[:, 0] == 1, 3.0, 0.5)
    one, _ = fitted("dcnv2", fit={"class_weight": {0: 0.5, 1: 3.0}})
    other, _ = fitted("dcnv2", fit={"sample_weight": of_rows})
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-5)


def test_accumulated_gradients_are_those_of_a_larger_batch():
    def after(rows, **kwargs):
        _, model = fitted(
            "dcnv2",
            fit={"batch_size": rows, "epochs": 2},
            optimizer=keras.optimizers.SGD(0.5, **kwargs),
            table_optimizer="dense",
        )
        return model

    one, other = after(STEP, gradient_accumulation_steps=2), after(2 * STEP)
    for a, b in zip(one.trainable_weights, other.trainable_weights, strict=True):
        same(a, b, 2e-5)


def test_validation_split_is_the_end_of_the_data():
    history, _ = fitted("dcnv2", fit={"validation_split": 0.25})
    cut = ROWS * 3 // 4
    first = {k: a[:cut] for k, a in BATCH.items()}, LABEL[:cut]
    last = {k: a[cut:] for k, a in BATCH.items()}, LABEL[cut:]
    expected, _ = fitted("dcnv2", *first, fit={"batch_size": STEP, "validation_data": last})
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_a_frozen_table_stays(name):
    model = small(name)
    for embedding in layers_of(model, FeatureEmbedding):
        embedding.trainable = False
    before = {weight.path: numpy(weight).copy() for weight in model.weights}
    fitted(name, model=model)
    moved = {w.path for w in model.weights if np.abs(numpy(w) - before[w.path]).max() > 0}
    assert moved
    assert not [path for path in moved if "table" in path]


def callbacks(folder):
    """Every callback of Keras that needs no server, and what it must have done in three epochs."""
    c = keras.callbacks
    seen = []
    found = {
        "BackupAndRestore": (
            c.BackupAndRestore(folder / "backup", delete_checkpoint=False),
            lambda model: any((folder / "backup").iterdir()),
        ),
        "CSVLogger": (
            c.CSVLogger(folder / "log.csv"),
            lambda model: len((folder / "log.csv").read_text().splitlines()) == 4,
        ),
        "EarlyStopping": (
            c.EarlyStopping("loss", min_delta=9.0, patience=1, restore_best_weights=True),
            lambda model: len(model.history.epoch) == 2,
        ),
        "LambdaCallback": (
            c.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(logs["loss"])),
            lambda model: len(seen) == 3 * ROWS // STEP and np.isfinite(seen).all(),
        ),
        "LearningRateScheduler": (
            c.LearningRateScheduler(lambda epoch: 0.5**epoch),
            lambda model: float(model.optimizer.learning_rate) == 0.25,
        ),
        "ModelCheckpoint": (
            c.ModelCheckpoint(folder / "best.keras", "loss", save_best_only=True),
            lambda model: (
                same(keras.saving.load_model(folder / "best.keras")(TENSORS), model(TENSORS))
                is None
            ),
        ),
        "ReduceLROnPlateau": (
            c.ReduceLROnPlateau("loss", 0.1, patience=1, min_delta=9.0),
            lambda model: float(model.optimizer.learning_rate) < 0.005,
        ),
        "SwapEMAWeights": (  # validates with the averages, which are the weights at the end
            c.SwapEMAWeights(),
            lambda model: np.isclose(model.history.history["val_loss"][-1], loss(model), rtol=1e-5),
        ),
        "TensorBoard": (
            c.TensorBoard(folder / "board", histogram_freq=1, update_freq=2),
            lambda model: any((folder / "board").rglob("events*")),
        ),
        "TerminateOnNaN": (c.TerminateOnNaN(), lambda model: len(model.history.epoch) == 3),
    }
    if keras.backend.backend() == "jax":
        found["OrbaxCheckpoint"] = (
            c.OrbaxCheckpoint(str(folder / "orbax")),
            lambda model: any((folder / "orbax").iterdir()),
        )
    return found


def loss(model):
    return model.evaluate(BATCH, LABEL, verbose=0, return_dict=True)["loss"]


LISTED = {  # the others: a base class, those every `fit` has by itself, one that needs a server
    *("BackupAndRestore CSVLogger EarlyStopping LambdaCallback LearningRateScheduler").split(),
    *("ModelCheckpoint OrbaxCheckpoint ReduceLROnPlateau SwapEMAWeights TensorBoard").split(),
    "TerminateOnNaN",
}


def test_no_callback_is_left_out():
    others = {"Callback", "CallbackList", "History", "ProgbarLogger", "RemoteMonitor"}
    assert {n for n in dir(keras.callbacks) if n[0].isupper()} == LISTED | others


# What they read and write of a model depends on the backend; the others only look at the logs.
STATE = ("BackupAndRestore", "ModelCheckpoint", "OrbaxCheckpoint", "SwapEMAWeights", "TensorBoard")


@pytest.mark.parametrize(
    "callback",
    [
        name if name in STATE else pytest.param(name, marks=pytest.mark.once)
        for name in sorted(LISTED)
        if name != "OrbaxCheckpoint" or keras.backend.backend() == "jax"  # it works there only
    ],
)
def test_callback(callback, tmp_path):
    made, did = callbacks(tmp_path)[callback]
    averages = callback == "SwapEMAWeights"
    _, model = fitted(
        "dcnv2",
        fit={"callbacks": [made], "validation_data": (BATCH, LABEL)},
        optimizer=keras.optimizers.Adam(0.01, use_ema=averages),
        table_optimizer="dense" if averages else "rows",
    )
    assert did(model)


def test_a_table_frozen_after_compile_asks_for_another(tmp_path):
    _, model = fitted("dcnv2")
    model.embeddings[0].trainable = False
    with pytest.raises(ValueError, match="frozen or thawed .* `compile` again"):
        model.fit(BATCH, LABEL, verbose=0)


def test_a_model_with_one_frozen_table_is_saved(tmp_path):
    """What the optimizer keeps for a table is found by the table, not by how many there are."""
    model = small("deepfm")
    model.embeddings[0].trainable = False
    model.compile(keras.optimizers.Adam(0.01), table_optimizer="rows")
    model.fit(BATCH, LABEL, batch_size=STEP, verbose=0)
    model.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    same(loaded(TENSORS), model(TENSORS))
    [kept] = [table.state for table in model.tables.tables]
    same(loaded.tables.tables[1].state, kept)


@pytest.mark.once
@pytest.mark.parametrize("what", ["quantize", "layer.quantize", "layer.enable_lora"])
def test_what_is_not_there_says_so(what):
    model = small("dcnv2")
    do = {
        "quantize": lambda: model.quantize("int8"),
        "layer.quantize": lambda: model.embeddings[0].quantize("int8"),
        "layer.enable_lora": lambda: model.embeddings[0].enable_lora(2),
    }
    with pytest.raises(NotImplementedError, match="keras_ctr"):
        do[what]()
