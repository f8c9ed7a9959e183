"""Amazon Beauty: what a person reviews next. See datasets/amazon_beauty/README.md."""

import json
import re

import numpy as np
import polars as pl

from keras_ctr.datasets._raw.compression import line_blocks
from keras_ctr.datasets._synthetic import Draws
from keras_ctr.datasets.downloading import Download
from keras_ctr.datasets.sources import SPLITS, Source
from keras_ctr.features.columns import Categorical, Sequence
from keras_ctr.features.schema import Schema

LEAST = 4  # items of a user with a row in every split: a history, then train, valid, test
_is_id = re.compile("[0-9]{1,18}").fullmatch  # fits 64 bits
USERS = "salesforce/ICLRec"
ITEMS = "aHuiWang/CIKM2020-S3Rec"


def how_to_get(stem):
    """The sentence on where the two files of such a data set are, `Source.get`."""
    return (
        f"Download {stem}.txt from https://github.com/{USERS} (folder data) and "
        f"{stem}_item2attributes.json from https://github.com/{ITEMS} (folder data)."
    )


def repositories(stem, users, items):
    """The two `Download` objects of such a data set, of fixed commits.

    Args:
        stem: what the names of the files begin with.
        users: md5 sum and size of `<stem>.txt`.
        items: the same of `<stem>_item2attributes.json`.
    """
    user_file = f"{USERS}/2890e6c3ff6a22c6699fc19cb863b66786c1cde4/data/{stem}.txt"
    folder = f"{ITEMS}/49a890dcb516c9ed3126564495234ea74d5cd566/data"
    item_file = f"{folder}/{stem}_item2attributes.json"
    return Download("github", user_file, *users), Download("github", item_file, *items)


class AmazonBeauty(Source):
    """Which product a person reviews next: 198,502 reviews of 12,101 products by 22,363 people.

    Leave one out, as in SASRec (arXiv:1808.09781, section IV.A): of a user's items in time order
    the last is for the test, the one before it for validation, and all earlier ones but the first,
    which has no history, are for training. `history` holds the items strictly before the one at
    hand, oldest first, of whatever split. Users with fewer than four items have training rows
    only; in the published files everybody has five.

    Each of these rows, with label 1, is followed by `negatives` rows with label 0: the same user
    and history, and an item that the user has in no split, nor in the history. It is drawn
    uniformly over the items, and independently of other rows.

    Unlike the paper, which draws new negatives in every epoch and ranks the test item among 100
    others, negatives are rows of the data set, drawn once and as many in every split: our choice,
    for AUC and log loss. They depend on `negatives_seed` alone, so that runs of different `seed`
    share one test split.

    `attributes` is the combination of an item's attributes (`20|4|21`); `first_attribute` is its
    brand where that is known, else the widest category; `last_attribute` is the narrowest one.
    Users with fewer than 50 training rows share one id, but are groups of their own.

    Source: McAuley et al., "Image-based Recommendations on Styles and Substitutes", SIGIR 2015,
    arXiv:1506.04757; made into these files for S3-Rec, arXiv:2008.07873.

    Args:
        negatives: sampled negatives per positive.
        history: items kept of each history, the newest.
        train_positions: training positives kept of each user, the newest; all of them by default.
        negatives_seed: fixes the negatives.
    """

    name = "amazon_beauty"
    folders = ("amazon_beauty",)
    stem = "Beauty"
    get = how_to_get(stem)
    downloads = repositories(
        stem,
        users=("cb03635343187f36526ed4ba48102b53", 1_090_094),
        items=("d4955784543b9e8e68385db31cb30144", 305_674),
    )

    def __init__(self, negatives=1, history=50, train_positions=None, negatives_seed=0):
        counts = {"negatives": negatives, "history": history}
        if train_positions is not None:
            counts["train_positions"] = train_positions
        for name, value in counts.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
        self.negatives = negatives
        self.history = history
        self.train_positions = train_positions
        self.negatives_seed = negatives_seed

    def schema(self):
        # Most users have too few rows to teach a model more than their history does.
        features = [Categorical("user", min_count=50)]
        names = "item first_attribute last_attribute attributes".split()
        features += [Categorical(name) for name in names]
        features.append(Sequence("history", "item", self.history))
        return Schema(features, label="label", group="user")

    def files(self, root):
        return [
            self.find(root, f"{self.stem}{ending}") for ending in (".txt", "_item2attributes.json")
        ]

    def frames(self, root, reader):
        users_file, items_file = self.files(root)
        users = _users(users_file, reader)
        longest = users["items"].list.len().max() or 0
        if longest < LEAST:
            raise ValueError(
                f"{users_file} must hold a user with at least {LEAST} items. "
                f"Received: {len(users)} users, at most {longest} items"
            )
        about = _attributes(items_file, reader)
        strange = users["items"].explode().unique().sort()
        strange = strange.filter(~strange.is_in(about["item"].implode()))
        if len(strange):
            raise ValueError(
                f"Every item of {users_file} must be described in {items_file.name}. "
                f"Received: item {strange[0]}"
            )
        rows = self._with_negatives(_targets(users), users, users_file)
        begin = pl.col("held_out") - (self.train_positions or longest)
        for number, split in enumerate(SPLITS):
            frame = rows.filter((pl.col("split") == number) & (pl.col("at") >= begin))
            frame = frame.with_columns(history=self._history())
            frame = frame.join(about, on="item", how="left", maintain_order="left")
            yield split, frame.select(self.schema().columns)

    def _history(self):
        """The expression of the items before a target."""
        start = pl.max_horizontal(pl.col("at") - self.history, 0)
        return pl.col("items").list.slice(start, pl.col("at") - start)

    def _with_negatives(self, targets, users, path):
        """Puts the rows of the negatives behind that of each target, and adds `item`, `label`."""
        draws, target = Draws(self.negatives_seed), np.arange(len(targets))
        unseen = _Unseen(users["items"])
        if not unseen.count.all():
            user = users["user"][int(np.argmin(unseen.count))]
            raise ValueError(
                f"{path} must leave items that a user has not, for negatives. "
                f"Received: user {user} with all {len(unseen.catalogue)} items"
            )
        row = targets["row"].to_numpy().astype(np.int64)
        items = [targets.select(pl.col("items").list.get(pl.col("at"))).to_series().to_numpy()]
        # One stream per negative and a number per target: neither `negatives` nor
        # `train_positions` changes the negatives that remain.
        items += [
            unseen.pick(row, draws.uniform(f"negative/{k}", target)) for k in range(self.negatives)
        ]
        label = pl.lit([1] + [0] * self.negatives, pl.List(pl.Int8))
        items = pl.Series(np.stack(items, axis=1)).arr.to_list()
        return targets.with_columns(item=items, label=label).explode("item", "label")


class _Unseen:
    """The items that users have not: `count` of them per user, and `pick` chooses one.

    Args:
        lists: polars series with the items of each user.
    """

    def __init__(self, lists):
        owner = np.repeat(np.arange(len(lists)), lists.list.len().to_numpy())
        self.catalogue, place = np.unique(lists.explode().to_numpy(), return_inverse=True)
        width = len(self.catalogue) + 1
        owner, place = np.divmod(np.unique(owner * width + place), width)  # sorted, no repeats
        self.first = np.searchsorted(owner, np.arange(len(lists)))
        self.count = len(self.catalogue) - np.bincount(owner, minlength=len(lists))
        before = place - (np.arange(len(owner)) - self.first[owner])  # unseen items before it
        self.width, self.keys = width, owner * width + before

    def pick(self, row, uniform):
        """Returns an item for each user `row`, by a number in (0, 1) that is uniform."""
        k = (uniform * self.count[row]).astype(np.int64)
        # The unseen item number k lies behind all seen ones that at most k unseen ones precede.
        seen = np.searchsorted(self.keys, row * self.width + k, side="right") - self.first[row]
        return self.catalogue[k + seen]


def _targets(users):
    """One row per position `at` but the first, with the number of its split."""
    count = pl.col("items").list.len().cast(pl.Int64)
    held_out = count - pl.when(count >= LEAST).then(2).otherwise(0)  # where train ends
    targets = users.with_row_index("row").with_columns(held_out=held_out)
    targets = targets.filter(count > 1).with_columns(at=pl.int_ranges(1, count)).explode("at")
    return targets.with_columns(split=(pl.col("at") - pl.col("held_out") + 1).clip(0))


def _users(path, reader):
    """The columns `user` and `items`, a list in time order, in the order of the file."""
    users = {}
    for line, text in enumerate(_text(path, reader).split("\n"), 1):
        words = text.split()
        wrong = [word for word in words if not _is_id(word)]
        if wrong:
            reader.refuse(path, line, f"ids must be whole numbers, not {wrong[0]!r}")
        elif len(words) == 1:
            reader.refuse(path, line, f"a user must have items, not {words[0]!r} alone")
        elif words:
            user, *items = map(int, words)
            if user in users:
                reader.refuse(path, line, f"a user must have one line, but {user} has another")
            else:
                users[user] = items
    types = {"user": pl.Int64, "items": pl.List(pl.Int64)}
    return pl.DataFrame([list(users), list(users.values())], schema=types)


def _attributes(path, reader):
    """The column `item` and those that say something about it."""
    try:
        pairs = json.loads(_text(path, reader).rstrip(), object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: this must be JSON. {error.msg}") from error
    if not isinstance(pairs, tuple):
        raise ValueError(f"{path} must be a JSON object. Received: {type(pairs).__name__}")
    about = {}
    for item, values in pairs:
        if not _is_id(item) or not isinstance(values, list) or {*map(type, values)} - {int}:
            raise ValueError(
                f"{path} must map items (whole numbers) to lists of whole numbers. "
                f"Received: {item!r}: {values!r}"
            )
        if int(item) in about:
            raise ValueError(f"{path} must describe each item once. Received: item {item} twice")
        words = [str(value) for value in values] or [None]
        about[int(item)] = (int(item), words[0], words[-1], "|".join(words) if values else None)
    names = ["first_attribute", "last_attribute", "attributes"]
    types = {"item": pl.Int64} | dict.fromkeys(names, pl.String)
    return pl.DataFrame(list(about.values()), schema=types, orient="row")


def _text(path, reader):
    """The text of a file. What is no text becomes a character that no id can hold."""
    blocks = line_blocks(path, None, reader.progress)
    return b"".join(block for block, _ in blocks).decode(errors="replace")
