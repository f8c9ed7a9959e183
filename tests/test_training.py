"""Row updates: what a step does to the rows of its batch, and to no others."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ctr import Categorical, Numeric, Schema, Sequence, layers, testing, training, zoo
from keras_ctr.training import progress
from keras_ctr.training import tables as tables_module
from keras_ctr.training.rounding import stochastic
from keras_ctr.zoo._base import CTRModel

SCHEMA = Schema(
    [Categorical("a", 8), Categorical("b", 6), Numeric("c"), Sequence("past", of="a", length=3)],
    label="y",
)
STEPS = 4


def numpy(x):
    return np.array(ops.convert_to_numpy(x))


def model(**compiled):
    keras.utils.set_random_seed(3)
    made = zoo.get("deepfm", embedding_dim=4, hidden_units=[8], dropout=0.0).adapt(SCHEMA)
    for weight in made.weights:  # large enough that every part of the model matters
        weight.assign(weight + 0.3 * keras.random.normal(weight.shape, seed=len(weight.shape)))
    made.compile(**{"table_optimizer": "rows", **compiled})
    return made


def tables_of(made):
    """The tables as arrays `(14, D)`: of the first-order weights and of the embeddings."""
    return [numpy(layer.table) for layer in made.embeddings]


def trained(batch, label, steps=STEPS, **compiled):
    made = model(**compiled)
    made.fit(batch, label, batch_size=len(label), epochs=steps, verbose=0)
    return made


def largest_difference(one, other):
    return max(
        np.abs(numpy(a) - numpy(b)).max()
        for a, b in zip(one.trainable_weights, other.trainable_weights, strict=True)
    )


@pytest.fixture
def full():
    """A batch that has every id of every column, most of them several times."""
    batch, label = testing.example_batch(SCHEMA, rows=48)
    batch["ids"][:8, 0], batch["ids"][:6, 1] = np.arange(8), np.arange(6)
    return batch, label


@pytest.fixture
def half():
    """A batch with the ids 1, 2 and 3 only, and padding."""
    batch, label = testing.example_batch(SCHEMA, rows=48)
    batch["ids"] = batch["ids"] % 4
    batch["past"] = batch["past"] % 4
    return batch, label


ABSENT = [4, 5, 6, 7, 8 + 4, 8 + 5]  # rows of the ids that `half` does not have
PADDING = [0, 8]

OPTIMIZERS = {
    "sgd": lambda **k: keras.optimizers.SGD(0.5, **k),
    "adagrad": lambda **k: keras.optimizers.Adagrad(0.1, **k),
    "adam": lambda **k: keras.optimizers.Adam(0.01, **k),
    "adamw": lambda **k: keras.optimizers.AdamW(0.01, weight_decay=0.1, **k),
    "ftrl": lambda **k: keras.optimizers.Ftrl(
        0.1, l1_regularization_strength=0.001, l2_regularization_strength=0.01, beta=0.1, **k
    ),
}
CLIPPING = [{}, {"global_clipnorm": 0.05}, {"clipnorm": 0.02}, {"clipvalue": 0.002}]
CASES = [(name, {}) for name in OPTIMIZERS] + [("adam", clipping) for clipping in CLIPPING[1:]]


@pytest.mark.parametrize("name, clipping", CASES)
def test_rows_in_every_batch_are_trained_as_by_keras(full, name, clipping):
    dense = trained(*full, optimizer=OPTIMIZERS[name](**clipping), table_optimizer="dense")
    rows = trained(*full, optimizer=OPTIMIZERS[name](**clipping))
    assert not dense.tables.tables and len(rows.tables.tables) == 2
    moved = np.abs(tables_of(dense)[1] - tables_of(model())[1]).max()
    assert moved > 1e-3
    if name == "ftrl":  # its dense form also resets the row of padding, which no lookup sees
        for layer in dense.embeddings:
            table = numpy(layer.table)
            table[PADDING] = 0
            layer.table.assign(table)
        for layer in rows.embeddings:
            table = numpy(layer.table)
            table[PADDING] = 0
            layer.table.assign(table)
    # 1e-6 of float32 rounding, which Adam's division by small numbers makes a little more
    assert largest_difference(dense, rows) < (3e-6 if name.startswith("adam") else 1e-6)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam"])
def test_rows_that_come_and_go(full, half, name):
    """Without momentum a skipped step is nothing; Adam's is made up for, to two percent."""
    ends = {}
    for choice in ("dense", "rows"):
        made = model(optimizer=OPTIMIZERS[name](), table_optimizer=choice)
        for batch, label in [full, half, half, half, full, half, half]:
            made.train_on_batch(batch, label)
        made.settle()
        ends[choice] = tables_of(made)
    start = tables_of(model())
    for dense, rows, before in zip(ends["dense"], ends["rows"], start, strict=True):
        moved = np.abs(dense - before)[ABSENT]
        tolerance = 0.05 * moved.mean() if name == "adam" else 1e-6
        np.testing.assert_allclose(rows, dense, atol=tolerance)


def test_what_adam_owes_is_what_matters(full, half):
    """Without the settling the test above would fail."""
    made = model(optimizer=OPTIMIZERS["adam"]())
    made.train_on_batch(*full)
    before = tables_of(made)[1]
    for _ in range(6):
        made.train_on_batch(*half)
    unsettled = tables_of(made)[1]
    np.testing.assert_array_equal(unsettled[ABSENT], before[ABSENT])
    made.settle()
    owed = np.abs(tables_of(made)[1] - unsettled)[ABSENT]
    assert owed.mean() > 0.02  # six steps of at most 0.01
    made.settle()
    settled = tables_of(made)[1]
    made.settle()
    np.testing.assert_array_equal(tables_of(made)[1], settled)


@pytest.mark.parametrize("how", ["evaluate", "predict", "save"])
def test_what_reads_the_tables_settles_them_first(full, half, how, tmp_path):
    made = model(optimizer=OPTIMIZERS["adam"]())
    for batch, label in [full, half, half]:
        made.train_on_batch(batch, label)
    before = tables_of(made)[1]
    if how == "evaluate":
        made.evaluate(*half, verbose=0)
    elif how == "predict":
        made.predict(half[0], verbose=0)
    else:
        made.save(tmp_path / "model.keras")
    after = tables_of(made)[1]
    assert np.abs(after - before)[ABSENT].min() > 1e-4
    made.settle()
    np.testing.assert_array_equal(tables_of(made)[1], after)


@pytest.mark.parametrize("rule", sorted(training.rules.RULES))
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_absent_rows_and_padding_stay_bit_for_bit(half, rule, l2):
    before = tables_of(model())
    after = tables_of(trained(*half, table_optimizer=rule, table_l2=l2))
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new[ABSENT + PADDING], old[ABSENT + PADDING])
        present = [row for row in range(14) if row not in ABSENT + PADDING]
        assert (np.abs(new - old)[present].max(axis=1) > 1e-7).all()


def test_row_wise_adagrad_by_hand(full):
    rate, start = 0.1, 0.1
    made = model(table_optimizer=training.RowWiseAdagrad(rate, start))
    table = made.embeddings[1].table
    [gradient] = testing.gradients(
        lambda: keras.losses.BinaryCrossentropy()(full[1], made(full[0], training=True)), [table]
    )
    expected = numpy(table)
    total = start + np.mean(gradient**2, axis=1, keepdims=True)
    expected = expected - rate * gradient / np.sqrt(total + 1e-7)
    made.fit(*full, batch_size=48, verbose=0)
    np.testing.assert_allclose(tables_of(made)[1], expected, atol=1e-6)
    assert made.tables.tables[1].state.shape == (14, 1)


def test_dense_training_sums_equal_ids_too(full):
    """Keras on TensorFlow squares the gradient of each occurrence alone; ours must not."""
    rate, start = 0.1, 0.1
    made = model(optimizer=keras.optimizers.Adagrad(rate, start), table_optimizer="dense")
    table = made.embeddings[1].table
    [gradient] = testing.gradients(
        lambda: keras.losses.BinaryCrossentropy()(full[1], made(full[0], training=True)), [table]
    )
    expected = numpy(table) - rate * gradient / np.sqrt(start + gradient**2 + 1e-7)
    made.fit(*full, batch_size=48, verbose=0)
    np.testing.assert_allclose(tables_of(made)[1], expected, atol=1e-6)


def test_l2_of_rows_in_every_batch(full):
    dense = trained(*full, table_optimizer="dense", table_l2=0.1, optimizer=OPTIMIZERS["sgd"]())
    rows = trained(*full, table_l2=0.1, optimizer=OPTIMIZERS["sgd"]())
    for a, b in zip(tables_of(dense), tables_of(rows), strict=True):
        present = [row for row in range(14) if row not in PADDING]
        np.testing.assert_allclose(a[present], b[present], atol=1e-6)


def test_l2_makes_up_for_skipped_steps(full, half):
    """SGD without data: `w·(1 - ηλ)^n` becomes `w·(1 - ηλ·n)` for a row that was away `n` steps."""
    rate, l2 = 0.01, 0.1
    made = model(optimizer=keras.optimizers.SGD(rate), table_l2=l2)
    weightless = np.zeros((48, 1), "float32")
    before = tables_of(made)[1]
    for batch, label in [half, half, half, full]:
        made.train_on_batch(batch, label, sample_weight=weightless)
    expected = before[ABSENT] * (1 - 4 * rate * l2)
    np.testing.assert_allclose(tables_of(made)[1][ABSENT], expected, rtol=1e-6)


def test_a_stopped_run_goes_on(full, half, tmp_path):
    batches = [full, half, half, full, half]
    straight, stopped = model(optimizer="adam"), model(optimizer="adam")
    for batch, label in batches[:3]:
        straight.train_on_batch(batch, label)
        stopped.train_on_batch(batch, label)
    straight.settle()  # as `save` does
    stopped.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert len(again.tables.tables) == 2
    for batch, label in batches[3:]:
        straight.train_on_batch(batch, label)
        again.train_on_batch(batch, label)
    np.testing.assert_array_equal(tables_of(again)[1], tables_of(straight)[1])
    assert largest_difference(again, straight) == 0
    served = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert served.tables is None and np.isfinite(served.predict(full[0], verbose=0)).all()


def test_weights_alone_need_no_slots(full, tmp_path):
    made = trained(*full)
    made.save_weights(tmp_path / "rows.weights.h5")
    dense = model(table_optimizer="dense")
    dense.load_weights(tmp_path / "rows.weights.h5")
    np.testing.assert_array_equal(tables_of(dense)[1], tables_of(made)[1])


def overflow(monkeypatch):
    """Gradients too large for float16, of a loss that is not."""
    before = CTRModel.compute_loss
    monkeypatch.setattr(
        CTRModel, "compute_loss", lambda self, *args, **kwargs: 1e6 * before(self, *args, **kwargs)
    )


def test_an_overflow_leaves_everything_as_it_was(full, half, monkeypatch):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        made, plain = model(optimizer="adam"), model(optimizer="adam")
        assert type(made.optimizer).__name__ == "LossScaleOptimizer"
        for batch in (full, half, half):  # rows that are owed moves, too
            made.train_on_batch(*batch)
            plain.train_on_batch(*batch)
        before = [numpy(weight) for weight in made.weights]
        with monkeypatch.context() as patch:
            overflow(patch)
            made.train_function = None
            made.train_on_batch(*full)
        made.train_function = None
        for weight, old in zip(made.weights, before, strict=True):
            np.testing.assert_array_equal(numpy(weight), old)
        for one in (made, plain):
            one.optimizer.dynamic_scale.assign(1024.0)
            one.train_on_batch(*full)
        assert largest_difference(made, plain) < 1e-6
    finally:
        keras.config.set_dtype_policy("float32")


BAD = {
    "a value": lambda batch, label: ({**batch, "values": nan_at(batch["values"], 5)}, label),
    "a label": lambda batch, label: (batch, nan_at(label, 7)),
}


def nan_at(array, row):
    array = array.astype("float32")
    array[row] = np.nan
    return array


@pytest.mark.parametrize("choice", ["rows", "dense"])
@pytest.mark.parametrize("what, column", [("a value", "c"), ("a label", "y")])
def test_a_failing_step_changes_nothing_and_is_named(full, choice, what, column):
    batch, label = full
    good = (
        {key: np.concatenate([array] * 4) for key, array in batch.items()},
        np.tile(label, (4, 1)),
    )
    bad = BAD[what]({k: v.copy() for k, v in good[0].items()}, good[1].copy())
    for array in (*bad[0].values(), bad[1]):  # steps of 16: the bad row is in the seventh
        if array.dtype == "float32" and np.isnan(array).any():
            array[:] = np.roll(array, 96, axis=0)
    kwargs = {"batch_size": 16, "shuffle": False, "verbose": 0}
    made = model(optimizer="adam", table_optimizer=choice)
    with pytest.raises(FloatingPointError, match=r"step 7\b.*\n.*") as raised:
        made.fit(*bad, **kwargs)
    table = str(raised.value).split("The batch:")[1]
    assert f"columns ['{column}']" in str(raised.value)
    assert [line.split()[:2] for line in table.split("\n")[2:]] == [
        [name, "1" if name == column else "0"] for name in ("c", "y")
    ]
    plain = model(optimizer="adam", table_optimizer=choice)
    plain.fit({key: array[:96] for key, array in good[0].items()}, good[1][:96], **kwargs)
    made.settle()
    assert largest_difference(made, plain) < 1e-7
    assert int(made.optimizer.iterations) == 6
    made.fit(*good, **kwargs)  # and goes on from there
    plain.fit(*good, **kwargs)
    assert largest_difference(made, plain) < 1e-7


def test_weights_that_have_grown_too_large_are_named(full):
    made = model(optimizer="sgd")
    for weight in made.trainable_weights:
        weight.assign(weight * 1e38)
    with pytest.raises(FloatingPointError, match="step 1,.*too large: the largest is .* in '"):
        made.train_on_batch(*full)


def test_moving_averages_are_kept_too(full):
    made = zoo.get("dnn", embedding_dim=4, tower=layers.MLP([8], batch_norm=True)).adapt(SCHEMA)
    made.compile("adam")
    made.train_on_batch(*full)
    state = [numpy(v) for v in made.float_state]
    with pytest.raises(FloatingPointError, match="step 2,"):
        made.train_on_batch({**full[0], "values": nan_at(full[0]["values"], 0)}, full[1])
    assert len(state) == 2
    for variable, old in zip(made.float_state, state, strict=True):
        np.testing.assert_array_equal(numpy(variable), old)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a device makes the host wait")
def test_a_failing_step_on_a_device(full, monkeypatch):
    from keras_ctr.backend import _torch

    monkeypatch.setattr(_torch, "_waits", lambda tensor: True)
    test_moving_averages_are_kept_too(full)
    made, plain = model(optimizer="adam"), model(optimizer="adam")
    made.fit(*full, shuffle=False, verbose=0)
    monkeypatch.undo()
    plain.fit(*full, shuffle=False, verbose=0)
    assert largest_difference(made, plain) == 0


class Counting(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, sorted(logs)))


def test_a_callback_sees_every_step(full):
    made, counting = model(), Counting()
    made.fit(*full, batch_size=16, epochs=2, callbacks=[counting], verbose=0)
    assert [batch for batch, _ in counting.seen] == [0, 1, 2] * 2
    assert counting.seen[0][1] == ["loss"]


def test_metrics_are_looked_at_at_a_pace(full, monkeypatch, capsys):
    looked = []
    monkeypatch.setattr(progress.StopWhenFailed, "_look", lambda self, logs: looked.append(logs))
    monkeypatch.setattr(progress, "PACE", 3600)
    history = model().fit(*full, batch_size=4, epochs=2, verbose=1)
    assert len(looked) == 3  # the first step, and the ends of two epochs
    assert "12/12" in capsys.readouterr().out and len(history.history["loss"]) == 2


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch has neither")
def test_compiled_and_several_steps_at_a_time(full):
    plain = model(optimizer="adam")
    plain.fit(*full, batch_size=16, epochs=2, verbose=0, shuffle=False)
    joined = model(optimizer="adam", jit_compile=True, steps_per_execution=3)
    joined.fit(*full, batch_size=16, epochs=2, verbose=0, shuffle=False)
    assert largest_difference(plain, joined) < 3e-6


def test_sample_weights(full):
    weights = (np.arange(48) % 2).astype("float32")[:, None]
    kept = {key: array[1::2] for key, array in full[0].items()}
    one, other = model(optimizer="sgd"), model(optimizer="sgd")
    one.fit(*full, sample_weight=weights, batch_size=48, verbose=0)
    other.compile(keras.optimizers.SGD(0.005), table_optimizer="rows")  # half as many rows: means
    other.fit(kept, full[1][1::2], batch_size=24, verbose=0)
    assert largest_difference(one, other) < 1e-6


class Twice(CTRModel):
    """Looks its history up a second time."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed = layers.FeatureEmbedding(4)
        self.click = layers.Click()

    def call(self, batch, training=None):
        shifted = {**batch, "ids": (batch["ids"] + 1) % 6}
        return self.click([ops.sum(self.embed(b), axis=(1, 2))[:, None] for b in (batch, shifted)])


def test_two_lookups_of_one_table_in_a_step(full):
    ends = []
    for choice in ("dense", "rows"):
        keras.utils.set_random_seed(0)
        made = Twice().adapt(SCHEMA)
        made.compile(OPTIMIZERS["adagrad"](), table_optimizer=choice)
        made.fit(*full, batch_size=16, epochs=2, verbose=0, shuffle=False)
        ends.append(made)
    assert largest_difference(*ends) < 1e-6
    assert np.abs(tables_of(ends[0])[0]).max() > 0.1


class TestChoice:
    def test_small_tables_are_dense_and_large_ones_are_not(self, full, monkeypatch):
        assert not trained(*full, table_optimizer="auto").tables.tables
        monkeypatch.setattr(tables_module, "DENSE_UP_TO", 13)
        made = trained(*full, table_optimizer="auto")
        assert isinstance(made.tables.tables[0].rule, training.Adam)
        assert all("table" not in v.path for v in made.trainable_variables)
        assert sum("table" in v.path for v in made.trainable_weights) == 2

    def test_settings_are_taken_over(self):
        like = training.rules.like
        found = like(keras.optimizers.Adam(0.1, beta_1=0.8, beta_2=0.99, epsilon=1e-5))
        assert (found.beta_1, found.beta_2, found.epsilon) == (0.8, 0.99, 1e-5)
        found = like(keras.optimizers.Ftrl(0.1, l1_regularization_strength=0.5))
        assert found.l1 == 0.5 and isinstance(found, training.FTRL)

    @pytest.mark.parametrize(
        "optimizer",
        [
            keras.optimizers.RMSprop,
            lambda: keras.optimizers.SGD(0.1, momentum=0.9),
            lambda: keras.optimizers.Adam(amsgrad=True),
            lambda: keras.optimizers.Adam(gradient_accumulation_steps=4),
            lambda: keras.optimizers.Adagrad(weight_decay=0.1),
        ],
    )
    def test_an_optimizer_without_a_row_form_says_so(self, full, optimizer):
        made = model(optimizer=optimizer())
        with pytest.raises(ValueError, match="table_optimizer='dense'.*a table of 14 rows"):
            made.fit(*full, verbose=0)
        made = model(optimizer=optimizer(), table_optimizer="adagrad")
        made.fit(*full, verbose=0)

    def test_moving_averages_need_dense_tables(self, full):
        for rule in ("rows", "adagrad"):
            made = model(optimizer=keras.optimizers.Adam(use_ema=True), table_optimizer=rule)
            with pytest.raises(ValueError, match="use_ema.*'dense'"):
                made.fit(*full, verbose=0)

    def test_unknown_rule(self):
        with pytest.raises(ValueError, match="Did you mean 'adagrad'"):
            model(table_optimizer="adagrat")

    def test_ftrl_with_l1_makes_weights_exactly_zero(self, full):
        made = trained(*full, table_optimizer=training.FTRL(0.1, l1=1.0))
        present = [row for row in range(14) if row not in PADDING]
        assert (tables_of(made)[0][present] == 0).all()

    def test_compiling_again_begins_anew(self, full):
        made = trained(*full, optimizer="adam")
        made.compile("adam", table_optimizer="dense")
        made.fit(*full, verbose=0)
        assert not made.tables.tables and len(made.optimizer.variables) > 2 * len(made.weights)


def test_batch_l2_of_rows_is_that_of_dense_tables(full):
    """A row is held by `λ/n_j` when it is in a batch, whichever way its table is trained."""
    ends = [
        trained(*full, optimizer=OPTIMIZERS["sgd"](), table_optimizer=choice, batch_l2=0.5)
        for choice in ("dense", "rows")
    ]
    free = trained(*full, optimizer=OPTIMIZERS["sgd"]())
    assert largest_difference(*ends) < 1e-6
    assert largest_difference(ends[1], free) > 1e-3


def narrow(**compiled):
    keras.utils.set_random_seed(3)
    made = zoo.get("deepfm", embedding_dim=4, hidden_units=[8], dropout=0.0)
    made.adapt(SCHEMA, table_dtype="bfloat16")
    for weight in made.weights:
        weight.assign(weight + 0.3 * keras.random.normal(weight.shape, seed=len(weight.shape)))
    made.compile(**compiled)
    return made


def bits(made):
    return [numpy(ops.cast(layer.table, "float32")) for layer in made.embeddings]


def test_rounding_is_right_on_average():
    value = np.array([[1.0 + 2**-9, -3.14159, 1e-30, 0.0, 0.5]], "float32")
    found = np.concatenate(
        [
            numpy(ops.cast(stochastic(ops.convert_to_tensor(value), "bfloat16", step), "float32"))
            for step in range(2000)
        ]
    )
    spacing = 2.0 ** (np.floor(np.log2(np.abs(value) + 1e-38)) - 7)
    assert (np.abs(found - value) < spacing).all()
    assert (np.abs(found.mean(axis=0) - value) < 4 * spacing * 0.5 / 2000**0.5).all()
    assert len(np.unique(found[:, 0])) == 2 and len(np.unique(found[:, 1])) == 2
    np.testing.assert_array_equal(found[:, 3:], np.repeat(value[:, 3:], 2000, axis=0))


def test_numbers_are_rounded_independently_of_each_other():
    value = np.linspace(1, 2, 4097, dtype="float32")[:-1].reshape(-1, 4)
    up = [
        numpy(ops.cast(stochastic(ops.convert_to_tensor(value), "bfloat16", step), "float32"))
        > value
        for step in range(200)
    ]
    up = np.array(up).reshape(200, -1)[:, 16:48:2].astype("float32")  # between two spacings
    up = up[:, up.std(axis=0) > 0]
    assert up.shape[1] > 10
    off_diagonal = np.corrcoef(up.T)[np.triu_indices(up.shape[1], 1)]
    assert np.abs(off_diagonal).max() < 5 / 200**0.5


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_tables_of_bfloat16(full, half, optimizer, tmp_path):
    made = narrow(optimizer=OPTIMIZERS[optimizer]())
    assert {layer.table.dtype for layer in made.embeddings} == {"bfloat16"}
    assert made.embeddings[0].vectors.dtype == "float32"
    before = bits(made)
    made.fit(*half, batch_size=48, epochs=3, verbose=0)
    for new, old in zip(bits(made), before, strict=True):
        np.testing.assert_array_equal(new[ABSENT + PADDING], old[ABSENT + PADDING])
        assert np.abs(new - old).max() > 0
    made.save(tmp_path / "narrow.keras")
    loaded = keras.saving.load_model(tmp_path / "narrow.keras")
    assert loaded.embeddings[0].table.dtype == "bfloat16"
    made.fit(*full, batch_size=48, shuffle=False, verbose=0)
    loaded.fit(*full, batch_size=48, shuffle=False, verbose=0)
    for one, other in zip(bits(made), bits(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


def test_steps_smaller_than_the_spacing_add_up(full):
    """A hundred of them, each a tenth of the spacing: to the nearest, none would have an effect."""
    made, wide = narrow(optimizer=keras.optimizers.SGD(1e-3)), model(optimizer="sgd")
    for ours, theirs in zip(made.weights, wide.weights, strict=True):
        theirs.assign(numpy(ops.cast(ours, "float32")))
    wide.compile(keras.optimizers.SGD(1e-3), table_optimizer="rows")
    before = bits(made)[1]
    for one in (made, wide):
        one.fit(*full, batch_size=48, epochs=100, shuffle=False, verbose=0)
    ours, theirs = bits(made)[1] - before, tables_of(wide)[1] - before
    assert np.abs(theirs).max() / 100 < 2**-9 * 0.3  # of one step
    assert (ours * theirs).sum() / (theirs**2).sum() == pytest.approx(1, abs=0.15)


def test_bad_table_dtypes():
    made = zoo.get("lr")
    with pytest.raises(ValueError, match=r"one of .*'bfloat16'.*float16"):
        made.adapt(SCHEMA, table_dtype="float16")
    made.adapt(SCHEMA)
    with pytest.raises(ValueError, match="float32 already"):
        made.adapt(SCHEMA, table_dtype="bfloat16")
    with pytest.raises(ValueError, match="trained by rows"):
        narrow(table_optimizer="dense").train_on_batch(*testing.example_batch(SCHEMA, rows=8))
