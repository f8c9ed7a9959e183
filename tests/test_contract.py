"""Objects among arguments are patterns; arguments are checked where they are given."""

import errno
import inspect
import json
import pathlib

import exchange
import keras
import numpy as np
import pytest

from keras_ctr import Categorical, Schema, layers, recipes, studies, testing, zoo
from keras_ctr._config import arguments
from keras_ctr.layers import residuals

SAVED = pathlib.Path(__file__).parent / "saved"
SCHEMA = testing.example_schema()


# Objects that models take, each with models that take it.
OBJECTS = {
    "tower": (lambda: layers.MLP([6], "relu"), zoo.names("sml")),
    "cross": (lambda: layers.CrossMixture(1, rank=2, num_experts=2), ["dcnv2"]),
    "residual": (
        lambda: residuals.Gated(residuals.Identity(), residuals.DepthAttention()),
        ["onetrans", "deres", "hstu", "hiformer", "longer", "unimixer", "tokenmixer_large"],
    ),
    "norm": (layers.SeeDNorm, ["onetrans", "deres", "hiformer", "longer", "unimixer"]),
    "attention": (lambda: layers.TargetAttention([5], softmax=True), ["din", "dien"]),
    "mixing": (lambda: layers.UniMixing(4), ["unimixer"]),
    "feed_forward": (lambda: layers.PerTokenSwiGLU(2), ["tokenmixer_large"]),
}
TAKERS = [(kind, name) for kind, (_, names) in OBJECTS.items() for name in names]


def model_with(kind, name, pattern):
    config = {kind: pattern}
    if kind == "cross":
        sizes = {k: v for k, v in exchange.SMALL[name].items() if k != "num_layers"}
        return zoo.get(name, **(sizes | config))
    sizes = exchange.SMALL[name]
    unused = type(zoo.get(name)).replaced_by.get(kind, ())
    return zoo.get(name, **({k: v for k, v in sizes.items() if k not in unused} | config))


@pytest.mark.once
@pytest.mark.parametrize("kind, name", TAKERS)
def test_two_models_of_one_pattern_share_nothing(kind, name):
    pattern = OBJECTS[kind][0]()
    before = json.dumps(pattern.get_config(), default=str)
    one, other = (model_with(kind, name, pattern).adapt(SCHEMA) for _ in range(2))
    assert getattr(one, kind) is pattern is getattr(other, kind)
    assert not pattern.built and json.dumps(pattern.get_config(), default=str) == before
    assert not {id(w) for w in one.weights} & {id(w) for w in other.weights}
    assert len(one.weights) == len(other.weights) > 0


@pytest.mark.once
@pytest.mark.parametrize(
    "name, config",
    [
        ("onetrans", lambda: {"residual": residuals.deres()}),
        ("dnn", lambda: {"tower": layers.MLP([6])}),
        ("dcnv2", lambda: {"cross": layers.CrossMixture(1, rank=2, num_experts=2)}),
    ],
)
def test_training_one_model_leaves_the_other(name, config, tmp_path):
    """In a loop, after loading, and in a clone."""
    batch, label = testing.example_batch(SCHEMA)
    [(kind, pattern)] = config().items()
    models = [model_with(kind, name, pattern).adapt(SCHEMA) for _ in range(2)]
    models[0].save(tmp_path / "model.keras")
    models += [zoo.load(tmp_path / "model.keras"), keras.models.clone_model(models[0])]
    before = [model.predict(batch, verbose=0) for model in models]
    models[0].compile(keras.optimizers.Adam(0.1))
    models[0].fit(batch, label, epochs=3, verbose=0)
    assert np.abs(models[0].predict(batch, verbose=0) - before[0]).max() > 1e-3
    for model, expected in zip(models[1:], before[1:], strict=True):
        np.testing.assert_array_equal(model.predict(batch, verbose=0), expected)
    np.testing.assert_allclose(before[2], before[0], rtol=1e-6)


@pytest.mark.once
def test_a_second_stack_gets_a_residual_of_its_own():
    residual = residuals.deres(block_size=2)
    one, other = (layers.Stack([layers.FeedForward()], residual) for _ in range(2))
    x = np.ones((2, 3, 4), "float32")
    for stack in (one, other):
        stack(x)
    assert one.residual is residual and other.residual.second.block_size == 2
    assert not {id(w) for w in one.residual.weights} & {id(w) for w in other.residual.weights}


@pytest.mark.once
def test_a_pattern_must_not_be_called():
    class Wrong(zoo.CTRModel):
        def __init__(self, tower=None, **kwargs):
            super().__init__(**kwargs)
            self.tower = tower
            self.embed, self.click = layers.FeatureEmbedding(4), layers.Click()

        def call(self, batch, training=None):
            return self.click(self.tower(self.embed(batch)))

    with pytest.raises(ValueError, match="`tower` of Wrong is a pattern.*copy_of"):
        Wrong(layers.MLP([4])).adapt(SCHEMA)


@pytest.mark.once
def test_configs_are_short_and_editable():
    config = zoo.get("dcnv2").get_config()
    assert config["tower"] is None and config["cross"] is None
    config["hidden_units"] = [8]
    assert zoo.DCNV2.from_config(config).deep.hidden_units == [8]
    for name in zoo.names():
        config = zoo.get(name).get_config()
        taken = {kind for kind in OBJECTS if kind in config}
        assert all(config[kind] is None for kind in taken), name


@pytest.mark.once
def test_an_object_and_what_it_replaces_are_alternatives():
    with pytest.raises(ValueError, match="`tower` replaces `hidden_units`.*the other"):
        zoo.get("dnn", hidden_units=[8], tower=layers.MLP([4]))
    with pytest.raises(ValueError, match="`cross` replaces `num_layers`"):
        zoo.get("dcnv2", num_layers=2, cross=layers.Cross(1))
    zoo.get("dnn", hidden_units=[8], tower="sml")  # made of them
    zoo.get("dnn", hidden_units=(400, 400, 400), tower=layers.MLP([4]))  # the default says nothing


# Wrong kinds, at the constructor

WRONG = [
    ("onetrans", {"residual": "deres"}, "`residual` must be a residual.*residual='deres'"),
    ("onetrans", {"residual": residuals.Identity}, "forget the brackets, `residual=Identity"),
    ("onetrans", {"residual": layers.MLP([3])}, "`residual` must be a residual"),
    ("dcnv2", {"cross": layers.Cross}, "forget the brackets, `cross=Cross"),
    ("dcnv2", {"cross": 3}, "`cross` must be a layer.*cross=3"),
    ("din", {"attention": layers.TargetAttention}, "forget the brackets"),
    ("onetrans", {"num_heads": None}, "`num_heads` must be at least 1.*num_heads=None"),
    ("onetrans", {"num_heads": 2.0}, "whole number.*num_heads=2.0"),
    ("onetrans", {"num_heads": True}, "whole number.*num_heads=True"),
    ("dnn", {"dropout": "a"}, "`dropout` must be a number.*dropout='a'"),
    ("dnn", {"dropout": 1.0}, r"`dropout` must lie in \[0, 1\).*dropout=1.0"),
    ("dnn", {"hidden_units": [8.5]}, r"`hidden_units`.*hidden_units=\[8.5\]"),
    ("dnn", {"activation": 3}, "`activation` must be the name"),
    ("onetrans", {"causal": 1}, "`causal` must be True or False.*causal=1"),
]


@pytest.mark.once
@pytest.mark.parametrize("name, config, message", WRONG)
def test_wrong_kinds_are_refused_where_they_are_given(name, config, message):
    with pytest.raises(ValueError, match=message):
        zoo.get(name, **config)


@pytest.mark.once
def test_every_shared_argument_of_every_model_is_checked():
    """A string for a size, a rate or a switch, an empty object for a layer: no model takes it."""
    checked = 0
    for name in zoo.names():
        cls = type(zoo.get(name))
        for argument, default in arguments(cls).items():
            wrong = {str: 3}.get(type(default), "nonsense")
            if argument in ("groups", "contexts", "keep", "backbone", "gate_units", "granularity"):
                continue
            if "initializer" in argument or argument in ("num_vectors", "reduction_ratio"):
                continue
            with pytest.raises(ValueError, match=argument):
                zoo.get(name, **{argument: wrong})
            checked += 1
    assert checked > 250


# Files of the version before


# Any backend reads any file (see `test_reloads_from_another_backend`): here the file is older.
@pytest.mark.once
@pytest.mark.parametrize("path", sorted(SAVED.glob("*.keras")), ids=lambda path: path.stem)
def test_models_of_version_0_1_load_and_predict_the_same(path):
    saved = json.loads((SAVED / "expected.json").read_text())
    batch = {
        key: np.array(value, "float32" if key == "values" else "int32")
        for key, value in saved["batch"].items()
    }
    model = zoo.load(path)
    expected = np.array(saved["probabilities"][path.stem])[:, None]
    np.testing.assert_allclose(testing.probabilities(model, batch), expected, rtol=2e-5, atol=1e-6)
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()


@pytest.mark.once
def test_as_many_as_were_saved():
    saved = json.loads((SAVED / "expected.json").read_text())
    assert set(saved["probabilities"]) == {path.stem for path in SAVED.glob("*.keras")}
    assert len(saved["probabilities"]) == 21


# A layer of the user's own around ours


class Around(keras.layers.Layer):
    """Holds an embedding two floors below the model."""

    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential([layers.FeatureEmbedding(4)])

    def call(self, batch):
        return self.inner.layers[0](batch)


class Deep(zoo.CTRModel):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.around = Around()
        self.flatten, self.click = keras.layers.Flatten(), layers.Click()
        self.dense = keras.layers.Dense(1)

    def call(self, batch, training=None):
        return self.click(self.dense(self.flatten(self.around(batch))))


def test_an_embedding_inside_a_layer_is_adapted():
    schema = Schema([Categorical("user", 6)])
    model = Deep().adapt(schema)
    assert len(model.embeddings) == 1 and model.embeddings[0].schema == schema
    model.compile("adam")
    batch = {"ids": np.ones((4, 1), "int32")}
    model.fit(batch, np.ones((4, 1)), verbose=0)
    assert model.predict(batch, verbose=0).shape == (4, 1)


@pytest.mark.once
def test_signatures_have_no_catch_all():
    """`**kwargs` of models and layers takes Keras's arguments only: a typo is an error."""
    for name in zoo.names():
        with pytest.raises((ValueError, TypeError), match="no_such"):
            zoo.get(name, no_such=1)
    assert "kwargs" in inspect.signature(zoo.DeRes.__init__).parameters


class Mine(zoo.CTRModel):
    """A model of one's own: `p = σ(b + MLP(e))`.

    Args:
        embedding_dim: width.
        hidden_units: of the tower.
        dropout: of the tower.
        activation: of the tower.
        tower: a layer in its place.
    """

    def __init__(
        self,
        embedding_dim=4,
        hidden_units=(8,),
        dropout=0.0,
        activation="relu",
        tower=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.activation = activation
        self.tower = tower
        self.embed = layers.FeatureEmbedding(embedding_dim)
        self.deep = layers.get_tower(tower, hidden_units, activation, dropout, alone=True)
        self.click = layers.Click()

    def call(self, batch, training=None):
        return self.click(self.deep(self.embed(batch), training=training))


def test_a_class_of_ones_own_keeps_the_contract():
    testing.check_model(Mine, hidden_units=[5])


@pytest.mark.once
def test_a_class_of_ones_own_is_taken_where_a_name_is(tmp_path):
    assert zoo.get(Mine, embedding_dim=3).name == "mine" == zoo.name_of(Mine)
    assert zoo.info(Mine)["class"] == "Mine" and zoo.info(Mine)["groups"] == []
    with pytest.raises(ValueError, match="Unknown argument of mine: 'width'"):
        zoo.get(Mine, width=3)
    model = recipes.get("bars", data="frappe_x1").get(Mine)
    assert model.deep.batch_norm and model.deep.dropout == 0.2
    arms = [studies.Arm("mine", Mine, {"tower": layers.MLP([4])}), studies.Arm("lr", "lr")]
    study = studies.Study("Mine", arms, "lr", "synthetic", {"synthetic": {"rows": 500}}, "short")
    rows = studies.run(study, tmp_path / "runs.csv", seeds=2, epochs=1, report=lambda line: None)
    assert [row["model"] for row in rows] == ["mine", "lr"] * 2
    assert {entry["arm"]: entry["runs"] for entry in studies.summary(study, rows)} == {
        "mine": 2,
        "lr": 2,
    }


@pytest.mark.once
def test_names_by_pattern():
    assert zoo.names("di*") == ["din", "dien"]
    assert zoo.names("unimixer*") == ["unimixer", "unimixer_lite"]
    assert zoo.names("nothing*") == []


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path, monkeypatch):
    """A full disk while saving leaves the old file, and nothing beside it."""
    path = tmp_path / "model.keras"
    model = zoo.get("lr").adapt(Schema([Categorical("c", size=5)], label="label"))
    model.save(path)
    old = path.read_bytes()
    written = type(model).save_assets

    def full(self, folder):
        written(self, folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(model), "save_assets", full)
        with pytest.raises(OSError, match="No space left"):
            model.save(path)
    assert path.read_bytes() == old
    model.save(path)
    model.save(str(path), overwrite=True)
    assert [at.name for at in tmp_path.iterdir()] == ["model.keras"]
    assert zoo.load(path).count_params() == model.count_params()
    model.save(tmp_path / "folder", zipped=False)
    assert (tmp_path / "folder").is_dir()
