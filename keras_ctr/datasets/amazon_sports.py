"""Amazon Sports and Outdoors: what a person reviews next. See datasets/amazon_sports/README.md."""

from keras_ctr.datasets.amazon_beauty import AmazonBeauty, how_to_get, repositories


class AmazonSports(AmazonBeauty):
    """Which product a person reviews next: 296,337 reviews of 18,357 products by 35,598 people.

    Columns, split, negatives and options are those of `AmazonBeauty`.
    """

    name = "amazon_sports"
    folders = ("amazon_sports",)
    stem = "Sports_and_Outdoors"
    get = how_to_get(stem)
    downloads = repositories(
        stem,
        users=("9691c051152edf528a56581da65b1ce3", 1_707_483),
        items=("3d1a7223d3fe8a66b3e168059f483db6", 653_780),
    )
