# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/keras-ctr/keras-ctr/blob/main/tutorials/01_first_model.ipynb)
#
# # Your first model
#
# We train [DeRes](https://arxiv.org/abs/2606.07980), a Transformer for click prediction, on
# generated clicks; then we compare it with a logistic regression and with the best that any model
# could reach. A few minutes on a laptop.

# %% [markdown]
# ## Backend
#
# Keras runs on JAX, TensorFlow or PyTorch. Which one is chosen by an environment variable, before
# Keras is imported. Everything below is the same on all three.

# %%
import os
import subprocess
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", "torch"

REPOSITORY = "https://github.com/keras-ctr/keras-ctr"
if "google.colab" in sys.modules:  # Colab has the three backends, but not this package
    package = f"keras-ctr @ git+{REPOSITORY}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)

# %% [markdown]
# ## The whole thing
#
# `synthetic` is generated on the spot: users, items, contexts, prices, and each user's last items.
# The data set brings its schema along, so the model need not be told what the columns are.

# %%
import keras

import keras_ctr

rows = int(os.environ.get("KERAS_CTR_TUTORIAL_ROWS", 200_000))
keras.utils.set_random_seed(1)

train, valid, test = keras_ctr.datasets.load("synthetic", rows=rows, batch_size=128)
model = keras_ctr.zoo.get(
    "deres", embedding_dim=8, token_dim=32, num_tokens=2, num_layers=1, granularity="sublayer"
)
falling = keras.optimizers.schedules.CosineDecay(0.003, decay_steps=3 * len(train))
model.compile(keras.optimizers.Adam(falling))
model.fit(train, validation_data=valid, epochs=3, verbose=2)
deres = model.evaluate(test, return_dict=True, verbose=2)

# %% [markdown]
# The sizes are small, so that it takes minutes without a GPU: one Transformer layer, whose two
# sub-layers (attention and feed-forward) DeRes connects. `keras_ctr.zoo.get("deres")` alone is
# wider and deeper.
#
# ## Is that good?
#
# Two numbers tell. A logistic regression is what a model has to beat. And since these clicks are
# generated, each row knows its true click probability: ranking by it gives the *Bayes AUC*, which
# nothing can beat.

# %%
baseline = keras_ctr.zoo.get("lr")
baseline.compile(keras.optimizers.Adam(0.003))
baseline.fit(train, validation_data=valid, epochs=3, verbose=2)
lr = baseline.evaluate(test, return_dict=True, verbose=2)

bayes = keras_ctr.metrics.auc(test.labels, test.extra("probability"))
for name, auc in (("lr", lr["auc"]), ("deres", deres["auc"]), ("Bayes", bayes)):
    print(f"{name:6} AUC {auc:.4f}")

# %% [markdown]
# This page is run as a test, so it says so when it is no longer true:

# %%
if not lr["auc"] + 0.01 < deres["auc"] < bayes:
    raise RuntimeError(f"DeRes must lie between lr and Bayes. Received: {lr}, {deres}, {bayes}")

# %% [markdown]
# ## Look at the result
#
# AUC knows only the order of the predictions. An auction needs the probabilities themselves:
# *calibration* is predicted over observed clicks, 1 at best.

# %%
probabilities = model.predict(test, verbose=0)
print(f"calibration {keras_ctr.metrics.calibration(test.labels, probabilities):.3f}")

# %% [markdown]
# Is it right where it is sure? Rows sorted by prediction, in five equal parts:

# %%
import numpy as np
import pandas as pd

order = np.argsort(probabilities[:, 0])
parts = np.array_split(order, 5)
pd.DataFrame(
    {
        "predicted": [probabilities[part].mean() for part in parts],
        "observed": [test.labels[part].mean() for part in parts],
        "true": [test.extra("probability")[part].mean() for part in parts],
    }
).round(3)

# %% [markdown]
# ## New rows
#
# The model carries its encoder, so it takes raw rows as they come from a log. What it has never
# seen (here a city) is not an error, but the id 1, "unseen"; what is missing is the id 0. The three
# rows differ only in what the user looked at before.

# %%
row = {
    "user": 1,
    "gender": "female",
    "age": "25-34",
    "city": "Atlantis",
    "item": 5,
    "category": 3,
    "brand": 7,
    "site": 2,
    "device": "phone",
    "position": 1,
    "hour": 20,
    "weekday": 5,
    "price": 19.9,
    "discount": 0.1,
    "relevance": 0.6,
    "idle_days": 2.0,
}
log = pd.DataFrame([row | {"history": history} for history in ([], [5, 5, 5], [801, 640, 233])])
log.assign(probability=model.predict(log, verbose=0))[["item", "history", "probability"]]

# %% [markdown]
# ## Keep it
#
# One file holds the architecture, the weights, the schema and the encoder. It can be loaded on any
# backend, and never runs code from the file.

# %%
import pathlib
import tempfile

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "deres.keras"
    model.save(path)
    print(f"{path.stat().st_size / 1e6:.1f} MB")
    again = keras.saving.load_model(path)
np.testing.assert_array_equal(again.predict(log, verbose=0), model.predict(log, verbose=0))

# %% [markdown]
# ## What next
#
# - **Real data**: `keras_ctr.datasets.load("frappe_x1")`, or another of
#   `keras_ctr.datasets.names()`.
# - **Your data**: `keras_ctr.datasets.from_pandas(df, label="clicked")`.
# - **Other models**: `keras_ctr.zoo.names()`, and `keras_ctr.zoo.info("dcnv2")` for one of them.
# - **A number that counts**: `keras_ctr.recipes.get("bars", data="frappe_x1")` is how the public
#   benchmark trains; on the command line, `keras-ctr train dcnv2 --data frappe_x1 --recipe bars`.
# - **A new idea**: `keras_ctr.zoo.get("onetrans", residual=...)` takes a residual of your own.

# %%
pd.DataFrame(keras_ctr.zoo.info(name) for name in keras_ctr.zoo.names())[["name", "summary"]]
