"""The world behind the synthetic data set: users, items, and the planted truth of the clicks."""

import functools
import hashlib

import numpy as np

LENGTH = 20  # events in a history, at most
KINDS = 6  # latent kinds of item, which no column shows
FORGET = 0.75  # what an event weighs, relative to the one after it
CLICK_RATE = 0.2
SPREAD = 1.4  # standard deviation of the logit: makes the Bayes AUC about 0.82

# (number of values, Zipf exponent of their frequencies)
COLUMNS = {
    "user": (10_000, 0.9),
    "gender": (2, 0.3),
    "age": (7, 0.3),
    "city": (500, 1.0),
    "item": (1_000, 0.9),
    "category": (30, 0.3),
    "brand": (300, 1.0),
    "site": (100, 1.0),
    "device": (4, 0.8),
    "position": (10, 0.5),
    "hour": (24, 0.3),
    "weekday": (7, 0.1),
}
DRAWN = ("user", "site", "device", "position", "hour", "weekday")  # the others follow from these
NAMES = {
    "gender": ["female", "male"],
    "age": ["25-34", "18-24", "35-44", "45-54", "55-64", "65+", "under 18"],
    "device": ["phone", "desktop", "tablet", "tv"],
}

# Relative standard deviations of the terms of the logit. First-order effects are the lesser part:
# what a model gains over a logistic regression is what it learns of interactions and histories.
TERMS = {
    "first": 0.55,
    "second": 0.65,
    "third": 0.4,
    "numeric": 0.45,
    "history": 0.65,
    "composed": 0.45,
}
# Columns with an effect of their own, and its size. That of users and items is small: most have
# too few rows to teach a model more.
FIRST = {
    "user": 0.2,
    "item": 0.2,
    "age": 0.5,
    "city": 0.3,
    "category": 1.0,
    "brand": 0.5,
    "site": 0.8,
    "device": 0.5,
    "position": 1.0,
    "hour": 0.5,
}
SECOND = [("age", "category"), ("site", "device"), ("hour", "category")]
THIRD = ("age", "device", "position")
# Mean of the latent factors whose products are the interactions. With 0 these would show in no
# marginal, and gradient descent would hardly find them.
LEAN = 1.0


class Draws:
    """Random numbers that are a pure function of `(seed, stream, counter)`.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of the counter, so a row is the same in
    whatever chunk and with whatever NumPy it is made.
    """

    def __init__(self, seed):
        self.seed = seed

    def uniform(self, stream, at):
        """Returns one float in (0, 1) for every counter of the integer array `at`."""
        key = hashlib.blake2b(f"{self.seed}/{stream}".encode(), digest_size=8).digest()
        x = np.asarray(at).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.frombuffer(key, "<u8")[0]
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x ^= x >> np.uint64(shift)
            x *= np.uint64(factor)
        x ^= x >> np.uint64(31)
        return ((x >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, stream, at):
        """Standard normals (Box-Muller)."""
        radius = np.sqrt(-2.0 * np.log(self.uniform(f"{stream}/radius", at)))
        return radius * np.cos(2.0 * np.pi * self.uniform(f"{stream}/angle", at))

    def zipf(self, stream, at, size, exponent):
        """Ids in `[0, size)`; the frequency of id k is proportional to `(k + 1)^-exponent`."""
        ends = np.cumsum(np.arange(1, size + 1) ** -exponent)
        return np.searchsorted(ends[:-1] / ends[-1], self.uniform(stream, at), side="right")


class World:
    """Users, items, and the planted truth: what makes whom click.

    The columns of rows are dicts of arrays of ids and floats; `truth(columns)` is their click
    probability. Everything follows from `seed`; nothing depends on how many rows are asked for.
    """

    def __init__(self, seed):
        self.draws = draws = Draws(seed)
        users = np.arange(COLUMNS["user"][0])
        self.users = {
            name: draws.zipf(f"user/{name}", users, *COLUMNS[name])
            for name in ("gender", "age", "city")
        }
        self.users["kind"] = draws.zipf("user/kind", users, KINDS, 0.0)
        items = np.arange(COLUMNS["item"][0])
        kind = draws.zipf("item/kind", items, KINDS, 0.0)
        per_kind = COLUMNS["category"][0] // KINDS  # a category holds items of one kind
        category = kind * per_kind + draws.zipf("item/category", items, per_kind, 0.5)
        brand = draws.zipf("item/brand", items, *COLUMNS["brand"])
        expensive = draws.normal("category/price", np.arange(COLUMNS["category"][0]))[category]
        price = np.exp(3.0 + 0.6 * expensive + 0.4 * draws.normal("item/price", items))
        self.items = {"kind": kind, "category": category, "brand": brand, "price": price}
        # Items of one kind lie side by side, so that one search draws an item of a given kind.
        self.shelf = np.argsort(kind, kind="stable")
        popularity = (self.shelf + 1.0) ** -COLUMNS["item"][1]
        self.shelf_ends = np.cumsum(popularity)
        self.kind_ends = np.append(0.0, self.shelf_ends[np.cumsum(np.bincount(kind)) - 1])

        reference = self.columns("reference", 0, 20_000)
        terms = self.terms(reference)
        self.centre = {name: term.mean() for name, term in terms.items()}
        self.scale = {name: TERMS[name] / term.std() for name, term in terms.items()}
        # Terms happen to lean together in one world more than in another: equalise their sum.
        stretch = SPREAD / self.logit(reference).std()
        self.scale = {name: stretch * scale for name, scale in self.scale.items()}
        self.bias = _bias(self.logit(reference), CLICK_RATE)

    def item_of(self, kind, uniform):
        """Returns an item of every `kind`, popular ones more often."""
        low, high = self.kind_ends[kind], self.kind_ends[kind + 1]
        at = np.searchsorted(self.shelf_ends, low + uniform * (high - low), side="right")
        return self.shelf[np.minimum(at, len(self.shelf) - 1)]

    def columns(self, split, start, stop):
        """Returns rows `[start, stop)` of a split: arrays by column, history `(rows, LENGTH)`."""
        row = np.arange(start, stop)

        def uniform(name):
            return self.draws.uniform(f"{split}/{name}", row)

        columns = {name: self.draws.zipf(f"{split}/{name}", row, *COLUMNS[name]) for name in DRAWN}
        user = columns["user"]
        columns |= {name: self.users[name][user] for name in ("gender", "age", "city")}

        # A session walks from kind to kind, now and then back to the user's favourite one.
        event = row[:, None] * LENGTH + np.arange(LENGTH)
        step = self.draws.uniform(f"{split}/history/step", event)
        kinds = self.draws.zipf(f"{split}/history/kind", event, KINDS, 0.0)
        kinds = np.where(step > 0.8, self.users["kind"][user][:, None], kinds)
        for at in range(1, LENGTH):
            kinds[:, at] = np.where(step[:, at] < 0.6, kinds[:, at - 1], kinds[:, at])
        columns["history"] = self.item_of(kinds, self.draws.uniform(f"{split}/history", event))
        length = uniform("history/length")
        columns["length"] = np.where(length < 0.08, 0, 1 + (length * LENGTH).astype(np.int64))

        # What is shown is, one time in three, of the kind looked at last.
        kind = self.draws.zipf(f"{split}/kind", row, KINDS, 0.0)
        kind = np.where(uniform("retarget") < 0.35, kinds[:, -1], kind)
        item = columns["item"] = self.item_of(kind, uniform("item"))
        columns |= {name: self.items[name][item] for name in ("category", "brand")}

        discount = np.maximum(0.0, uniform("discount") - 0.5)
        columns["discount"] = discount.round(2)
        columns["price"] = (self.items["price"][item] * (1.0 - columns["discount"])).round(2)
        columns["relevance"] = ((uniform("relevance/a") + uniform("relevance/b")) / 2).round(4)
        columns["idle_days"] = (-7.0 * np.log(uniform("idle_days"))).round(2)
        return columns

    def factor(self, stream, name):
        """Returns one latent number per value of a column, `(size,)`, about 0 on average."""
        size, exponent = COLUMNS[name]
        factor = self.draws.normal(stream, np.arange(size))
        weights = np.arange(1, size + 1) ** -exponent
        return factor - weights @ factor / weights.sum()

    def product(self, columns, names):
        """The interaction of several columns: the product of a latent factor of each."""
        stream = "*".join(names)
        parts = [LEAN + self.factor(f"{stream}/{name}", name)[columns[name]] for name in names]
        return functools.reduce(np.multiply, parts)

    def match(self, columns):
        """The share of the history that is of the item's kind, newer events weighing more."""
        kind = self.items["kind"]
        age = np.arange(LENGTH)[::-1]  # of an event; the newest has age 0
        weight = FORGET**age * (age < columns["length"][:, None])
        same = kind[columns["history"]] == kind[columns["item"]][:, None]
        return (weight * same).sum(axis=1) / np.maximum(weight.sum(axis=1), 1.0)

    def terms(self, columns):
        """Returns the terms of the logit, not yet scaled: `{name of TERMS: (rows,) floats}`."""
        effects = [
            size * self.factor(f"first/{name}", name)[columns[name]] for name, size in FIRST.items()
        ]
        pairs = [self.product(columns, names) for names in SECOND]
        has_history = columns["length"] > 0
        match = np.where(has_history, self.match(columns) - 0.4, 0.0)
        numeric = (
            np.exp(-(((columns["relevance"] - 0.6) / 0.15) ** 2))
            - 0.3 * np.log(columns["price"])
            + 2.0 * columns["discount"] * (columns["device"] == 0)
            - 0.2 * np.where(has_history, np.log1p(columns["idle_days"]), 1.5)
        )
        return {
            "first": sum(effects),
            "second": sum(pairs),
            "third": self.product(columns, THIRD),
            "numeric": numeric,
            "history": match,
            "composed": match * np.tanh(pairs[0]),
        }

    def logit(self, columns):
        """Returns the scaled sum of the terms, without the bias."""
        terms = self.terms(columns)
        return sum(self.scale[name] * (terms[name] - self.centre[name]) for name in terms)

    def truth(self, columns):
        """Returns the click probability of every row."""
        return _sigmoid(self.bias + self.logit(columns))


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _bias(logit, rate):
    """Returns the bias at which the mean of `sigmoid(bias + logit)` is `rate`, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if _sigmoid(middle + logit).mean() < rate:
            low = middle
        else:
            high = middle
    return low
