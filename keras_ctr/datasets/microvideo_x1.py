"""MicroVideo-1.7M, in the split of THACIL and BARS. See datasets/microvideo_x1/README.md."""

from keras_ctr.datasets.fixed import TrainAndTest, archive
from keras_ctr.features.columns import Categorical, Sequence
from keras_ctr.features.schema import Schema


class MicroVideo(TrainAndTest):
    """Clicks of 10,986 people on 1,704,880 short videos: 12,737,617 rows, 3 columns, 2 histories.

    8,970,309 rows to train on and 3,767,308 for the test, as split by THACIL and used by BARS under
    the name MicroVideo1.7M_x1; a part of train is drawn for validation. No video of a test row is
    in a row of train. Histories are the videos clicked before and their categories, the last 100.

    Unlike BARS, which embeds a video by a vector made of its cover image, a video is its id: in the
    test, "unseen".

    Source: Chen et al., "Temporal Hierarchical Attention at Category- and Item-Level for
    Micro-Video Click-Through Prediction", ACM MM 2018, doi:10.1145/3240508.3240617. Files:
    huggingface.co/datasets/reczoo/MicroVideo1.7M_x1.

    Args:
        valid: fraction of the rows of `train.csv` for validation. `"test"`: the test rows once
            more, and all others to train on, as in BARS.
        valid_seed: fixes which.
    """

    name = "microvideo_x1"
    repository = "MicroVideo1.7M_x1"
    further = True
    downloads = (
        archive(
            repository,
            train="936e6612714c887e76226a60829b4e0a",
            test="9417a18304fb62411ac27c26c5e0de56",
        ),
    )

    def schema(self):
        features = [Categorical(name) for name in ("user_id", "item_id", "cate_id")]
        features += [Sequence("clicked_items", "item_id", 100)]
        features += [Sequence("clicked_categories", "cate_id", 100)]
        return Schema(features, label="is_click", group="user_id")
