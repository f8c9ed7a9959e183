"""Studies: runs are resumed, differences are paired, fits find what was put in."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_ctr import cli, datasets, plots, recipes, studies, zoo
from keras_ctr.layers import residuals

pytestmark = pytest.mark.once


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A study of two quick models on a few generated rows."""
    monkeypatch.setenv("KERAS_CTR_CACHE", str(tmp_path / "cache"))
    arms = [studies.Arm("lr", "lr"), studies.Arm("lr without", "lr", history=False)]
    options = {"synthetic": {"rows": 2000}}
    study = studies.Study("tiny", arms, "lr", "synthetic", options, "short_synthetic")
    monkeypatch.setitem(studies.STUDIES, "tiny", lambda: study)
    return study


def test_a_stopped_study_goes_on(tiny, tmp_path):
    results, said = tmp_path / "results.csv", []
    options = {"epochs": 1, "verbose": 0, "report": said.append}
    studies.run(tiny, results, seeds=[2], arms=["lr"], **options)
    assert len(said) == 1
    rows = studies.run(tiny, results, seeds=2, **options)
    assert len(said) == len(rows) == 4  # the first one is not repeated
    assert {(row["arm"], row["seed"]) for row in rows} == {
        (arm.name, str(seed)) for arm in tiny.arms for seed in (1, 2)
    }
    found = studies.summary(tiny, rows)
    pairs = [
        float(rows[i]["auc"])
        - float(next(r for r in rows if r["arm"] == "lr" and r["seed"] == s)["auc"])
        for i, row in enumerate(rows)
        if (s := row["seed"]) and row["arm"] != "lr"
    ]
    assert found[1]["difference"] == pytest.approx(np.mean(pairs))
    assert found[1]["error"] == pytest.approx(np.std(pairs, ddof=1) / 2**0.5)
    assert (found[0]["difference"], found[0]["pairs"], found[1]["pairs"]) == (None, 0, 2)
    with pytest.raises(ValueError, match="Did you mean 'lr'"):
        studies.run(tiny, results, arms=["lrr"])


def test_command(tiny, tmp_path):
    results = str(tmp_path / "results.csv")
    command = ["study", "tiny", "--results", results, "--seeds", "1", "--epochs", "1", "--json"]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("[") :])
    assert [row["arm"] for row in found] == ["lr", "lr without"]


def test_the_same_seed_gives_the_same_run(tiny):
    splits = datasets.load("synthetic", rows=2000)
    recipe = recipes.get("short_synthetic")
    one, other = (
        studies.train_once("fm", splits, recipe, 3, epochs=1, verbose=0)[1] for _ in range(2)
    )
    assert one["auc"] == other["auc"] and one["logloss"] == other["logloss"]


def test_rows_without_sequences(tiny):
    train, *_ = datasets.load("synthetic", rows=2000, batch_size=64)
    plain = train.without_sequences()
    assert "history" in train[0][0] and "history" not in plain[0][0]
    np.testing.assert_array_equal(plain[0][0]["ids"], train[0][0]["ids"])
    assert plain.with_options(batch_size=8).schema == plain.schema
    zoo.get("lr").adapt(plain)


def test_every_arm_can_be_made():
    for name in studies.names():
        study = studies.get(name)
        for arm in study.arms:
            config = arm.config
            assert recipes.get(study.recipe, model=arm.model).get(arm.model, **config)
            assert study.reference_of(arm.name) in [a.name for a in study.arms]
    assert len(studies.get("baselines").arms) == 13
    with pytest.raises(ValueError, match="Did you mean 'scaling'"):
        studies.get("scalling")


def test_ablations_are_expressions():
    arms = {arm.name: arm.config["residual"] for arm in studies.get("ablation").arms}
    assert len(arms) == len(studies.ABLATIONS)
    full = arms['Gated(Identity(), DepthAttention(activation="silu"))']
    assert full.get_config().keys() == residuals.deres().get_config().keys()
    assert (full.gate, full.second.activation) == ("vector", "silu")


def rows_of(law):
    compute = {2: 1e5, 4: 2e5, 8: 4e5, 16: 8e5}
    return [
        {"arm": f"{model} {depth}x32", "flops": str(int(c)), "auc": str(law(model, c) + noise)}
        for model in ("onetrans", "deres")
        for depth, c in compute.items()
        for noise in (-1e-5, 1e-5)
    ]


def test_fits_find_the_law_that_was_put_in(tmp_path):
    gamma, scale = {"onetrans": 0.2, "deres": 0.4}, {"onetrans": 1.0, "deres": 10.0}
    fits = studies.scaling_fits(rows_of(lambda m, c: 0.82 - scale[m] * c ** -gamma[m]))
    found = fits["depth"]
    assert found["auc_inf"] == pytest.approx(0.82, abs=2e-3)
    assert list(fits) == ["depth"]  # there is one width only
    assert found["power"] == pytest.approx(gamma, rel=0.05)
    assert found["points"]["deres"][0][2] == pytest.approx(1e-5, rel=1e-3)
    plots.scaling(fits, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 0


def test_compute_for_the_same_auc():
    shift = {"onetrans": 0.0, "deres": np.log10(1.5) / 100}  # DeRes at C is OneTrans at 1.5 C
    fits = studies.scaling_fits(rows_of(lambda m, c: 0.7 + np.log10(c) / 100 + shift[m]))
    ratios = [ratio for _, ratio in fits["depth"]["iso_auc"]]
    assert ratios[:3] == pytest.approx([1.5] * 3, rel=1e-3) and ratios[3] is None
    assert fits["depth"]["log"] == pytest.approx({"onetrans": 1, "deres": 1}, rel=1e-6)


def test_short_recipes_fit_every_model():
    for name in zoo.names():
        assert isinstance(recipes.get("short", model=name).get(name), keras.Model)
