"""MovieLens-100k with histories, split by time. See datasets/movielens_100k/README.md."""

import itertools

import numpy as np
import polars as pl

from keras_ctr.datasets.downloading import Download
from keras_ctr.datasets.sources import SPLITS, Source
from keras_ctr.features.columns import Categorical, Numeric, Sequence
from keras_ctr.features.schema import Schema

RATING = ["user", "item", "rating", "time"]
USER = ["user", "age", "gender", "occupation", "zip_code"]
GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy "
    "Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"
).split()
ITEM = ["item", "title", "released", "video_released", "url", *GENRES]
CUTS = (0.8, 0.9)  # where validation and test begin, as shares of the ratings in time order


class MovieLens100K(Source):
    """Which film a person likes: 100,000 ratings of 1,682 films by 943 people, in time order.

    The label is 1 where the rating is at least `threshold`. Ratings are cut by time into 80%, 10%
    and 10%; those of one second stay together, in the later part. `liked` and `disliked` are the
    films a user had rated at least `threshold`, or less, strictly before the second of the rating
    at hand, oldest first: people rate many films in one second, and those tell of each other.

    `age` is cut at the deciles of the training rows; `zip_code` is its first two characters;
    `year` is that of the film's release; `genres` is their combination (`Action|Sci-Fi`), `genre`
    the first of them in the order of the file; `hour` and `weekday` (Monday = 1) of the rating are
    in UTC.

    Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
    For research; neither redistribution nor commercial use without permission. Files:
    grouplens.org/datasets/movielens/100k.

    Args:
        threshold: least rating (of 1 to 5) that counts as liked.
        history: films kept of each history, the newest.
    """

    name = "movielens_100k"
    folders = ("movielens_100k", "ml_100k", "ml-100k")
    get = (
        "Download https://files.grouplens.org/datasets/movielens/ml-100k.zip and unpack it: "
        "u.data, u.user, u.item."
    )
    names = ("u.data", "u.user", "u.item")
    downloads = (
        Download(
            "grouplens",
            "ml-100k.zip",
            md5="0e33842e24a9c977be4e0107933c0723",
            members={"u.data": "6e47046882bad158b0efbb84cd5cb987", "u.user": None, "u.item": None},
        ),
    )
    age = Categorical("age", buckets=10)

    def __init__(self, threshold=4, history=50):
        if not 1 < threshold <= 5:
            raise ValueError(
                "`threshold` must be above 1 and at most 5, so that some ratings lie on both "
                f"sides. Received: threshold={threshold!r}"
            )
        if not isinstance(history, int) or history < 1:
            raise ValueError(f"`history` must be a positive integer. Received: history={history!r}")
        self.threshold = threshold
        self.history = history

    def schema(self):
        names = "user item gender occupation zip_code genre genres hour weekday".split()
        features = [Categorical(name) for name in names]
        features += [self.age, Numeric("year")]
        features += [Sequence(name, "item", self.history) for name in ("liked", "disliked")]
        return Schema(features, label="label", group="user")

    def files(self, root):
        return [self.find(root, name) for name in self.names]

    def frames(self, root, reader):
        data, user_file, item_file = self.files(root)
        ratings = self.ratings(data, reader)
        users, items = self.users(user_file, reader), self.items(item_file, reader)
        check_unique(users, "user", user_file)
        check_unique(items, "item", item_file)
        users = users.with_columns(pl.col("zip_code").str.slice(0, 2))
        ratings = ratings.with_columns(label=(ratings["rating"] >= self.threshold).cast(pl.Int8))
        frame = self._with_histories(ratings).sort("time", "user", "item")
        when = pl.from_epoch("time", time_unit="s")
        frame = frame.with_columns(hour=when.dt.hour(), weekday=when.dt.weekday())
        frame = _joined(frame, users, "user", data, self.names[1])
        frame = _joined(frame, items, "item", data, self.names[2])
        edges = [0, *_cuts(frame["time"].to_numpy(), data), len(frame)]
        frame = frame.select(self.schema().columns)
        for split, (start, stop) in zip(SPLITS, itertools.pairwise(edges), strict=True):
            yield split, frame[start:stop]

    def ratings(self, path, reader):
        """The columns of `RATING`, whole numbers."""
        return _whole(reader, path, RATING, "\t", RATING, RATING)

    def users(self, path, reader):
        """The columns of `USER`."""
        return _whole(reader, path, USER, "|", ["user", "age"], ["user"])

    def items(self, path, reader):
        """The columns `item`, `year`, `genre` and `genres`."""
        items = _whole(reader, path, ITEM, "|", ["item", *GENRES], ["item"])
        names = [pl.when(pl.col(genre) == 1).then(pl.lit(genre)) for genre in GENRES]
        return items.select(
            "item",
            year=pl.col("released").str.slice(-4).cast(pl.Float64, strict=False),
            genre=pl.coalesce(names),
            genres=pl.concat_str(names, separator="|", ignore_nulls=True),
        )

    def _with_histories(self, ratings):
        """Sorts ratings by user and time, and adds the columns `liked` and `disliked`."""
        ratings = ratings.sort("user", "time", "item")
        user, time = ratings["user"].to_numpy(), ratings["time"].to_numpy()
        row = np.arange(len(ratings))
        other_user = np.append(True, user[1:] != user[:-1])
        other_time = other_user | np.append(True, time[1:] != time[:-1])
        first = np.maximum.accumulate(np.where(other_user, row, 0))  # of the user's ratings
        now = np.maximum.accumulate(np.where(other_time, row, 0))  # first one of the same second
        item, liked = ratings["item"].to_numpy(), ratings["label"].to_numpy() == 1
        columns = {}
        for name, wanted in (("liked", liked), ("disliked", ~liked)):
            count = np.append(0, np.cumsum(wanted))  # wanted ones before a row
            length = np.minimum(count[now] - count[first], self.history)
            at = count[now][:, None] + np.arange(-self.history, 0)
            events = np.append(item[wanted], 0)[np.maximum(at, 0)]  # (ratings, history)
            columns[name] = pl.Series(events).arr.to_list().list.tail(pl.Series(length))
        return ratings.with_columns(**columns)


def _whole(reader, path, columns, separator, numbers, required):
    """Reads a whole file of the set, which is in Latin-1; the `required` columns have no gaps."""
    read = reader.text(path, columns, numbers, separator, quoted=False, encoding="latin-1")
    frames = list(read)
    if not frames:
        raise ValueError(f"{path} must hold well-formed rows. Received: none")
    return checked(pl.concat(frames), path, numbers, required)


def checked(frame, path, numbers, required):
    """The frame of a file, with `numbers` as int64.

    Raises:
        ValueError: gaps in `required` columns, other than whole numbers.
    """
    for name in required:
        gaps = frame[name].null_count()
        if gaps:
            raise ValueError(f"Column {name!r} of {path} must have no gaps. Received: {gaps}")
    for name in numbers:
        odd = frame.filter(~pl.col(name).is_finite() | (pl.col(name) % 1 != 0))[name]
        if len(odd):
            raise ValueError(
                f"Column {name!r} of {path} must hold whole numbers. Received: {odd[0]}"
            )
    return frame.with_columns(pl.col(*numbers).cast(pl.Int64))


def check_unique(frame, name, path):
    """Raises `ValueError` where a user or an item is described twice."""
    twice = frame.filter(frame[name].is_duplicated())[name]
    if len(twice):
        raise ValueError(
            f"{path} must describe each {name} once. Received: {name} {twice[0]} twice"
        )


def _joined(ratings, about, name, path, described_in):
    """Adds what is known `about` users or items to their ratings."""
    strange = ratings.filter(~ratings[name].is_in(about[name].implode()))[name]
    if len(strange):
        raise ValueError(
            f"Every {name} of {path} must be described in {described_in}. "
            f"Received: {name} {strange[0]}"
        )
    return ratings.join(about, on=name, how="left", maintain_order="left")


def _cuts(time, path):
    """Returns where validation and test begin; rows of one second are not torn apart."""
    cuts = [int(np.searchsorted(time, time[int(share * len(time))])) for share in CUTS]
    if not 0 < cuts[0] < cuts[1]:
        raise ValueError(
            f"{path} must hold enough ratings of different times to be cut into three parts. "
            f"Received: {len(time)} ratings at {len(np.unique(time))} times"
        )
    return cuts
