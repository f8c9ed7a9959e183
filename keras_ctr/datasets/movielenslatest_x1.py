"""Tags of MovieLens in the split of AFN and BARS. See datasets/movielenslatest_x1/README.md."""

from keras_ctr.datasets.fixed import FixedFiles, archive
from keras_ctr.features.columns import Categorical
from keras_ctr.features.schema import Schema


class MovieLensLatest(FixedFiles):
    """Whether a person gives a film a tag: 2,006,860 rows, 3 categorical columns.

    1,404,801 / 401,373 / 200,686 rows for training, validation, test (7 : 2 : 1), as fixed by AFN
    and used by BARS under the name MovielensLatest_x1. Vocabularies keep every value (`min_count`
    1): 90,240 in all, as BARS counts them.

    Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015;
    Cheng, Shen and Huang, "Adaptive Factorization Network", AAAI 2020. Files:
    huggingface.co/datasets/reczoo/MovielensLatest_x1.
    """

    name = "movielenslatest_x1"
    repository = "MovielensLatest_x1"
    downloads = (
        archive(
            repository,
            train="efc8bceeaa0e895d566470fc99f3f271",
            valid="e1930223a5026e910ed5a48687de8af1",
            test="54e8c6baff2e059fe067fb9b69e692d0",
        ),
    )

    def schema(self):
        names = ("user_id", "item_id", "tag_id")
        return Schema([Categorical(name) for name in names], label="label", group="user_id")
