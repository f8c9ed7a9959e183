"""Kuaishou's short videos in the split of ALPINE and BARS. See datasets/kuaivideo_x1/README.md."""

from keras_ctr.datasets.fixed import TrainAndTest, archive
from keras_ctr.features.columns import Categorical, Sequence
from keras_ctr.features.schema import Schema


class KuaiVideo(TrainAndTest):
    """Clicks of 10,000 people on 3,239,534 short videos: 13,661,383 rows, 2 columns, 2 histories.

    10,931,092 rows to train on and 2,730,291 for the test, as split by ALPINE and used by BARS
    under the name KuaiVideo_x1; a part of train is drawn for validation. `pos_items` and
    `neg_items` are videos that the user had clicked, or passed by: of each the first 100, as the
    benchmark's files have them. Values seen less often than 10 times in train become "unseen".

    Unlike BARS, which also embeds a video by a vector made of its cover image, a video is its id.

    Source: Li et al., "Routing Micro-videos via A Temporal Graph-guided Recommendation System",
    ACM MM 2019. Files: huggingface.co/datasets/reczoo/KuaiVideo_x1.

    Args:
        valid: fraction of the rows of `train.csv` for validation. `"test"`: the test rows once
            more, and all others to train on, as in BARS.
        valid_seed: fixes which.
    """

    name = "kuaivideo_x1"
    repository = "KuaiVideo_x1"
    further = True
    downloads = (
        archive(
            repository,
            train="16f13734411532cc313caf2180bfcd56",
            test="ba26c01caaf6c65c272af11aa451fc7a",
        ),
    )

    def schema(self):
        features = [Categorical(name, min_count=10) for name in ("user_id", "item_id")]
        features += [Sequence(name, "item_id", 100) for name in ("pos_items", "neg_items")]
        return Schema(features, label="is_click", group="user_id")
