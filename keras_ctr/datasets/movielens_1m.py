"""MovieLens-1M with histories, split by time. See datasets/movielens_1m/README.md."""

import polars as pl

from keras_ctr.datasets._raw.compression import line_blocks
from keras_ctr.datasets.downloading import Download
from keras_ctr.datasets.movielens_100k import RATING, MovieLens100K, checked
from keras_ctr.features.columns import Categorical

USER = ["user", "gender", "age", "occupation", "zip_code"]
ITEM = ["item", "title", "genres"]


class MovieLens1M(MovieLens100K):
    """Which film a person likes: 1,000,209 ratings by 6,040 people, in time order.

    Label, split, histories and options are those of `MovieLens100K`. `age` is one of seven groups,
    `occupation` one of 21 numbers, `year` that of the title, and there is no genre "unknown".

    Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
    For research; neither redistribution nor commercial use without permission. Files:
    grouplens.org/datasets/movielens/1m.

    Args:
        threshold: least rating (of 1 to 5) that counts as liked.
        history: films kept of each history, the newest.
    """

    name = "movielens_1m"
    folders = ("movielens_1m", "ml_1m", "ml-1m")
    get = (
        "Download https://files.grouplens.org/datasets/movielens/ml-1m.zip and unpack it: "
        "ratings.dat, users.dat, movies.dat."
    )
    names = ("ratings.dat", "users.dat", "movies.dat")
    downloads = (
        Download(
            "grouplens",
            "ml-1m.zip",
            md5="c4d9eecfca2ab87c1945afe126590906",
            members=dict.fromkeys(names),
        ),
    )
    age = Categorical("age")

    def ratings(self, path, reader):
        return _whole(reader, path, RATING, RATING, RATING)

    def users(self, path, reader):
        return _whole(reader, path, USER, ["user", "age"], ["user"])

    def items(self, path, reader):
        items = _whole(reader, path, ITEM, ["item"], ["item"])
        return items.select(
            "item",
            "genres",
            year=pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Float64),
            genre=pl.col("genres").str.split("|").list.first(),
        )


def _whole(reader, path, columns, numbers, required):
    """Reads a file whose fields are separated by `::`, in Latin-1."""
    blocks = line_blocks(path, None, reader.progress)
    text = b"".join(block for block, _ in blocks).decode("latin-1")
    lines = pl.Series("line", text.replace("\r\n", "\n").split("\n")[:-1], pl.String)
    fields = lines.str.split("::")
    wrong = fields.list.len() != len(columns)
    for at in wrong.arg_true():
        count = f"{len(columns)} fields, not {fields.list.len()[at]}"
        reader.refuse(path, at + 1, f"a row must have {count}")
    frame = fields.filter(~wrong).list.to_struct(fields=columns).struct.unnest()
    frame = frame.with_columns(pl.all().replace("", None))
    odd = pl.any_horizontal(
        pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64, strict=False).is_null()
        for name in numbers
    )
    places = pl.Series(range(1, len(lines) + 1)).filter(~wrong)
    wrong = frame.select(odd).to_series()
    for at in wrong.arg_true():
        reader.refuse(path, places[at], f"{', '.join(numbers)} must be numbers")
    frame = frame.filter(~wrong).with_columns(pl.col(*numbers).cast(pl.Float64))
    if not len(frame):
        raise ValueError(f"{path} must hold well-formed rows. Received: none")
    return checked(frame, path, numbers, required)
