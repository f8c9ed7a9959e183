"""Amazon Toys and Games: what a person reviews next. See datasets/amazon_toys/README.md."""

from keras_ctr.datasets.amazon_beauty import AmazonBeauty, how_to_get, repositories


class AmazonToys(AmazonBeauty):
    """Which product a person reviews next: 167,597 reviews of 11,924 products by 19,412 people.

    Columns, split, negatives and options are those of `AmazonBeauty`.
    """

    name = "amazon_toys"
    folders = ("amazon_toys",)
    stem = "Toys_and_Games"
    get = how_to_get(stem)
    downloads = repositories(
        stem,
        users=("b139ecacfc81d0fb642bc2f448f13843", 922_166),
        items=("da983c96496c9c373b7d808564398bb6", 327_536),
    )
