"""Ads on Taobao with what was looked at before. See datasets/taobao_ad_x1/README.md."""

from keras_ctr.datasets.fixed import TrainAndTest, archive
from keras_ctr.features.columns import Categorical, Numeric, Sequence
from keras_ctr.features.schema import Schema

COLUMNS = (
    "userid cms_segid cms_group_id final_gender_code age_level pvalue_level shopping_level "
    "occupation new_user_class_level adgroup_id cate_id campaign_id customer brand pid btag"
).split()
HISTORIES = {"cate_his": "cate_id", "brand_his": "brand", "btag_his": "btag"}


class TaobaoAd(TrainAndTest):
    """Clicks on ads over 8 days of May 2017: 25,029,426 rows, 17 columns and 3 histories.

    21,929,911 rows of seven days to train on, 3,099,515 of the eighth for the test, as used by
    BARS under the name TaobaoAd_x1; a part of train is drawn for validation. Histories are the
    categories, brands and kinds of the user's last 50 acts. Values seen less often than 10 times
    in train become "unseen".

    Source: Lyu et al., "Deep Match to Rank Model for Personalized Click-Through Rate Prediction",
    AAAI 2020, of data set 56 of Alibaba's Tianchi. Files:
    huggingface.co/datasets/reczoo/TaobaoAd_x1.

    Args:
        valid: fraction of the rows of `train.csv` for validation. `"test"`: the test rows once
            more, and all others to train on, as in BARS.
        valid_seed: fixes which.
    """

    name = "taobao_ad_x1"
    repository = "TaobaoAd_x1"
    downloads = (
        archive(
            repository,
            train="eaabfc8629f23519b04593e26c7522fc",
            test="f5ae6197e52385496d46e2867c1c8da1",
        ),
    )

    def schema(self):
        features = [Categorical(name, min_count=10) for name in COLUMNS]
        features.append(Numeric("price", transform=None))
        features += [Sequence(name, of, 50) for name, of in HISTORIES.items()]
        return Schema(features, label="clk", group="userid")
