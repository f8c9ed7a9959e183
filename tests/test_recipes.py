import dataclasses

import keras
import pytest

from keras_ctr import datasets, recipes

pytestmark = pytest.mark.once


def test_bars_is_what_the_benchmark_says():
    recipe = recipes.get("bars", data="frappe_x1")
    model = recipe.compile(recipe.get("dcnv2"))
    assert model.embedding_dim == 10 and list(model.deep.hidden_units) == [400] * 3
    assert model.deep.batch_norm and model.deep.dropout == 0.2 and model.table_l2 == 0.05
    assert model.optimizer.epsilon == 1e-8 and model.optimizer.global_clipnorm == 10
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    plateau, stop = recipe.callbacks()
    assert (plateau.factor, plateau.patience, plateau.min_lr) == (0.1, 1, 1e-6)
    assert dataclasses.replace(recipe, plateau=5).callbacks()[0].patience == 5
    assert (stop.patience, stop.restore_best_weights, stop.monitor) == (2, True, "val_auc")


def test_sizes_go_where_the_architecture_has_them():
    recipe = recipes.get("bars", data="criteo_x4")
    assert recipe.batch_size == 10000
    assert recipe.get("lr").name == "lr"
    assert recipe.get("autoint").embedding_dim == 16
    assert list(recipe.get("dnn", hidden_units=[7]).deep.hidden_units) == [7]
    assert recipe.get("dnn", embedding_dim=3, dropout=0.7).deep.dropout == 0.7
    assert recipes.get("bars", data="frappe_x1", model="fm").table_l2 == 5e-6


def test_a_tower_keeps_the_activation_of_its_architecture():
    recipe = recipes.get("short_history", data="amazon_beauty")
    for name, activation in (("din", "dice"), ("bst", "leaky_relu"), ("dnn", "relu")):
        model = recipe.get(name)
        assert model.deep.activation == activation
    assert recipe.get("din", activation="silu").deep.activation == "silu"


def test_arguments_of_the_tower():
    recipe = recipes.get("bars", data="frappe_x1")
    assert recipe.get("deepfm").deep.batch_norm
    assert not recipe.get("deepfm", batch_norm=False).deep.batch_norm
    with pytest.raises(ValueError, match="Unknown argument"):
        recipe.get("deepfm", tower="sml", batch_norm=False)
    with pytest.raises(ValueError, match="Unknown argument"):
        recipe.get("deepfm", batchnorm=False)
    assert recipes.get("bars", data="criteo_x4", model="ffm").get("ffm").embedding_dim == 4


def test_regularisers_reach_the_model():
    recipe = recipes.Recipe("mine", table_l2=0.1, batch_l2=0.2)
    model = recipe.compile(recipe.get("din"))
    assert (model.table_l2, model.batch_l2) == (0.1, 0.2)


def test_plateau_cuts_the_rate_and_the_best_weights_return(tmp_path):
    train, valid, _ = datasets.load("synthetic", rows=2000, cache=tmp_path, batch_size=500)
    recipe = recipes.Recipe("fast", learning_rate=0.05, patience=2, epochs=30)
    model = recipe.get("fm", embedding_dim=4)
    history = recipe.fit(model, train, valid, verbose=0).history
    aucs, rate, best, waited = history["val_auc"], 0.05, 0.0, 0
    for epoch, auc in enumerate(aucs):
        assert history["learning_rate"][epoch] == pytest.approx(rate, rel=1e-3)
        assert waited < 2  # after two non-improving epochs in a row there is no other
        if auc > best + 1e-6:
            best, waited = auc, 0
        else:
            rate, waited = max(rate / 10, 1e-6), waited + 1
    assert waited == 2 and len(aucs) < 30
    found = model.evaluate(valid, return_dict=True, verbose=0)
    assert found["auc"] == pytest.approx(max(aucs), abs=1e-6)


def test_frappe_loads_and_trains(real_data):
    """The full runs are in zoo/dcnv2/results.csv; one epoch here shows the way is open."""
    keras.utils.set_random_seed(1)
    recipe = recipes.get("bars", data="frappe_x1")
    train, valid, test = datasets.load("frappe_x1", root=real_data / "frappe_x1", batch_size=4096)
    model = recipe.get("dcnv2")
    recipe.fit(model, train, valid, epochs=2, verbose=0)
    assert model.evaluate(test, return_dict=True, verbose=0)["auc"] > 0.94


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("criteo_x4", "criteo/train_head10k.txt.xz"),
        ("criteo_x4", "criteo/train_other10k.txt.xz"),
        ("avazu_x4", "avazu/train_25k.csv.xz"),
    ],
)
def test_the_raw_kaggle_files_train(name, file, real_data):
    train, valid, test = datasets.load(name, root=real_data / file, batch_size=1000)
    recipe = recipes.Recipe("fast", learning_rate=0.003, epochs=3)
    model = recipe.get("deepfm", embedding_dim=4, hidden_units=[32], dropout=0.0)
    recipe.fit(model, train, valid, verbose=0)
    assert model.evaluate(test, return_dict=True, verbose=0)["auc"] > 0.6
