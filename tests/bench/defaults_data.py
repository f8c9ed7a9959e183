"""Data sets of `defaults.py`: three real ones, three generated ones.

`load(name, seed)` returns `Parts`: data frames as a user would have them (texts, numbers, missing
values, times), not encoded. The real ones are read from `KERAS_CTR_DATA`, or `../shared/data`.
Adult and Frappe have published splits, which no seed changes; Bank is cut once, by the published
permutation; the generated sets have fixed rows, and `seed` draws which 20% of them are the test.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np
import pandas as pd

LABEL = "label"
ROWS = 30_000
FOLDER = pathlib.Path(
    os.environ.get("KERAS_CTR_DATA")
    or pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
)
ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country"
).split()


class Parts(NamedTuple):
    """Frames with a 0/1 column `LABEL`; `valid` is None where none is published."""

    train: pd.DataFrame
    valid: pd.DataFrame | None
    test: pd.DataFrame


def adult(seed):
    """UCI Adult, the given split; `?` is missing."""

    def part(name):
        frame = pd.read_csv(
            FOLDER / "adult" / name,
            names=[*ADULT, LABEL],
            skipinitialspace=True,
            na_values="?",
        )
        frame[LABEL] = frame[LABEL].str.startswith(">50K").astype("int64")
        return frame

    return Parts(part("adult.data.xz"), None, part("adult.test.xz"))


def bank(seed):
    """UCI Bank Marketing without `duration`, which leaks the label."""
    frame = pd.read_csv(FOLDER / "bank" / "bank-full.csv.xz").drop(columns="duration")
    frame[LABEL] = (frame.pop("y") == "yes").astype("int64")
    return _cut(frame, 1)


def frappe(seed):
    """Frappe_x1, the published splits; ids are texts, so that nobody takes them for amounts."""
    parts = [
        pd.read_csv(FOLDER / "frappe_x1" / f"{name}.csv.xz", dtype=str)
        for name in ("train", "valid", "test")
    ]
    return Parts(*(part.assign(**{LABEL: part[LABEL].astype("int64")}) for part in parts))


def quantities(seed):
    """Amounts with heavy tails, thresholds and interactions, floats and integers, some missing."""
    rng = np.random.default_rng(11)
    z = rng.normal(size=(ROWS, 5))
    age = np.clip(np.round(40 + 13 * z[:, 0]), 18, 90)
    income = np.exp(7.8 + 0.7 * (0.4 * z[:, 0] + 0.9 * z[:, 1]))
    balance = 400 * np.sinh(1.3 * (0.6 * z[:, 1] + 0.8 * z[:, 2]))
    visits = rng.poisson(np.exp(1 + 0.8 * z[:, 3]))
    price = np.round(np.exp(2.5 + z[:, 4])) + 0.99
    distance = rng.pareto(1.5, ROWS)
    rate = rng.beta(0.7, 3, ROWS)
    gain = np.where(rng.random(ROWS) < 0.07, np.round(np.exp(rng.normal(8, 1, ROWS)), -1), 0)
    idle = rng.exponential(30, ROWS)
    size = rng.integers(1, 13, ROWS)
    logit = (
        -1.5
        + 0.8 * np.tanh((age - 35) / 8)
        - 1.2 * (age > 65)
        + 0.8 * np.log(income / 2500)
        + 1.0 * (balance > 500)
        - 0.9 * (balance < 0) * (income < 2500)
        + 0.7 * np.minimum(visits, 6) / 3 * (idle < 20)
        - 0.9 * (price / income > 0.012)
        + 1.5 * (gain > 3000)
        - 0.8 * (gain > 0) * (gain <= 3000)
        + 0.9 * np.sin(6 * rate) * (size % 4 == 0)
        - 0.5 * np.log1p(distance) * (size > 6)
    )
    frame = pd.DataFrame(
        {
            "age": age.astype("int64"),
            "income": income,
            "balance": np.round(balance, 2),
            "visits": visits,
            "price": price,
            "distance": distance,
            "rate": rate,
            "gain": gain.astype("int64"),
            "idle": idle,
            "size": size,
            "weight": np.exp(rng.normal(size=ROWS)),  # says nothing
            "code": rng.integers(0, 10**6, ROWS),  # says nothing
        }
    )
    frame.loc[rng.random(ROWS) < 0.1, "income"] = np.nan
    frame.loc[rng.random(ROWS) < expit(-2 - logit), "rate"] = np.nan  # missing says something
    return _generated(frame, logit, rng, seed)


def ids(seed):
    """An access log: Zipf popularity, tastes of rank 8, but main effects dominate."""
    rng = np.random.default_rng(12)
    users, items, sections, devices = 1500, 600, 24, 40
    user, item = _zipf(rng, users, 0.9), _zipf(rng, items, 1.0)
    device = _zipf(rng, devices, 1.0)
    section_of = rng.integers(0, sections, items)
    section = section_of[item]
    tastes = rng.normal(size=(users, 8)), rng.normal(size=(items, 8)) / 8**0.5
    logit = (
        -1.0
        + rng.normal(0, 1.8, users)[user]
        + rng.normal(0, 1.3, items)[item]
        + rng.normal(0, 0.6, sections)[section]
        + rng.normal(0, 0.4, devices)[device]
        + 0.6 * (tastes[0][user] * tastes[1][item]).sum(1)
    )
    frame = pd.DataFrame(
        {
            "user": [f"u{i}" for i in rng.permutation(users)[user]],
            "item": [f"i{i}" for i in rng.permutation(items)[item]],
            "section": [f"s{i}" for i in section],
            "device": [f"d{i}" for i in device],
        }
    )
    return _generated(frame, logit, rng, seed)


def mixed(seed):
    """Categories, amounts, a time with effects of hour and weekday, a boolean, some missing."""
    rng = np.random.default_rng(13)
    seconds = np.sort(rng.integers(0, 90 * 86400, ROWS))
    time = pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s")
    hour, weekday = time.hour.to_numpy(), time.weekday.to_numpy()
    city, campaign = _zipf(rng, 300, 0.9), _zipf(rng, 60, 0.8)
    channel, plan = rng.integers(0, 5, ROWS), _zipf(rng, 4, 0.5)
    member = rng.random(ROWS) < 0.3
    amount = np.exp(rng.normal(3 + 0.5 * member, 1.1))
    past = rng.poisson(np.exp(rng.normal(0.5, 0.9, ROWS)))
    age = rng.gamma(2, 15, ROWS) + 18
    liking = rng.normal(0, 0.7, (60, 5))
    logit = (
        -1.2
        + rng.normal(0, 0.6, 300)[city]
        + rng.normal(0, 0.6, 60)[campaign]
        + liking[campaign, channel]
        + 0.8 * np.cos((hour - 20) / 24 * 2 * np.pi)
        + 0.7 * (weekday >= 5) * (channel < 2)
        - 0.6 * ((hour < 6) & ~member)
        + 0.8 * member * np.tanh((amount - 25) / 10)
        - 0.5 * np.log(amount / 20) * (plan == 0)
        + 0.5 * np.log1p(past)
        - 0.6 * (np.abs(age - 45) > 20)
        + 0.004 * seconds / 86400
    )
    frame = pd.DataFrame(
        {
            "time": time,
            "city": [f"city {i}" for i in city],
            "campaign": campaign + 1000,
            "channel": np.array(["web", "app", "mail", "shop", "call"], object)[channel],
            "plan": np.array(["free", "basic", "plus", "pro"], object)[plan],
            "member": member,
            "amount": np.round(amount, 2),
            "past": past,
            "age": np.round(age, 1),
        }
    )
    frame["campaign"] = frame["campaign"].astype(str)
    frame.loc[rng.random(ROWS) < 0.08, "channel"] = None
    frame.loc[rng.random(ROWS) < 0.15, "age"] = np.nan
    return _generated(frame, logit, rng, seed)


def expit(x):
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def _zipf(rng, size, power):
    """Draws ranks `(ROWS,)` below `size`, with probability proportional to rank^-power."""
    weight = np.arange(1, size + 1) ** -power
    return rng.choice(size, ROWS, p=weight / weight.sum())


def _generated(frame, logit, rng, seed):
    frame[LABEL] = (rng.random(ROWS) < expit(logit)).astype("int64")
    return _cut(frame, 100 + seed)


def _cut(frame, seed):
    """The first 80% of a permutation are for training, the others for the test."""
    order = np.random.default_rng(seed).permutation(len(frame))
    first = len(frame) * 4 // 5
    train, test = order[:first], order[first:]
    return Parts(
        frame.iloc[train].reset_index(drop=True), None, frame.iloc[test].reset_index(drop=True)
    )


SETS = {
    "adult": adult,
    "bank": bank,
    "frappe": frappe,
    "quantities": quantities,
    "ids": ids,
    "mixed": mixed,
}


def load(name, seed=0):
    """Returns the `Parts` of a data set."""
    return SETS[name](seed)
