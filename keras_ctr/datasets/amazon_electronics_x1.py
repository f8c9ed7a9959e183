"""Amazon Electronics as DIN prepared it. See datasets/amazon_electronics_x1/README.md."""

from keras_ctr.datasets.fixed import TrainAndTest, archive
from keras_ctr.features.columns import Categorical, Sequence
from keras_ctr.features.schema import Schema


class AmazonElectronics(TrainAndTest):
    """Which product a person reviews next: 2,993,570 rows, 2 columns and 2 histories.

    The split of DIN, as used by BARS under the name AmazonElectronics_x1: the last product of a
    user and a sampled one, 384,806 rows, are for the test; earlier ones and as many sampled ones,
    2,608,764 rows, are to train on, and a part of them is drawn for validation. `item_history`
    and `cate_history` are what the user had reviewed before, the last 100. The user is no column,
    but the group of `GAUC`.

    Source: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction",
    arXiv:1706.06978. Files: huggingface.co/datasets/reczoo/AmazonElectronics_x1.

    Args:
        valid: fraction of the rows of `train.csv` for validation. `"test"`: the test rows once
            more, and all others to train on, as in BARS.
        valid_seed: fixes which.
    """

    name = "amazon_electronics_x1"
    repository = "AmazonElectronics_x1"
    downloads = (
        archive(
            repository,
            train="e9bf80b92985e463db18fdc753d347b5",
            test="57a20e82fe736dd495f2eaf0669bf6d0",
        ),
    )

    def schema(self):
        features = [Categorical("item_id"), Categorical("cate_id")]
        features += [Sequence("item_history", "item_id", 100)]
        features += [Sequence("cate_history", "cate_id", 100)]
        return Schema(features, label="label", group="user_id")
