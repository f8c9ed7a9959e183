"""`Served`: what a trained model is for: scores of candidates, files for servers, a hub."""

import numpy as np

from keras_ctr.zoo import _hub, _scoring


class Served:
    """The doors out of a model. To be mixed into `CTRModel`."""

    def score(self, context, candidates):
        """Click probabilities of many candidates in one context, which is read and encoded once.

        Models with `shares_histories` also compute what depends on the histories alone once: the
        keys of DIN, the keys and values of events in OneTrans, HSTU, LONGER and what is built on
        them.

        Args:
            context: what the rows have in common, such as the user and the histories: a dict with
                one value per column, or a table of one row.
            candidates: a table of all other columns, a row per candidate, as `predict` takes it.
                Both may also be packed arrays, of the context with one row.

        Returns:
            `(N, 1)`, float32: as `predict` of the rows written out.

        Raises:
            ValueError: a column in both or in neither, or a context of several rows.

        Example:

        >>> model = keras_ctr.zoo.get("deres", token_dim=8).adapt(schema)
        >>> context = {"history": batch["history"][:1]}
        >>> model.score(context, {key: batch[key] for key in batch if key not in context}).shape
        (4, 1)
        """
        if self.schema is None:
            self.admit(candidates)  # which says so
        arrays, differing = _scoring.together(self, context, candidates)
        if arrays is None:
            return np.zeros((0, 1), "float32")
        shares = _scoring.can_share(self, arrays, differing)
        if not shares or not self.can_be_called(arrays, most=None):
            return self.predict(_scoring.spread(self.schema, arrays), verbose=0)
        self.settle()
        return self.called_in_turn(arrays)

    def shares_histories(self, differing):
        """Whether `call` takes histories of one row beside other columns of several.

        Args:
            differing: names of the fields that may differ between the rows; of the others the model
                may take the first row for all.
        """
        return False

    def export(self, filepath, format=None, *, quantize=None, examples=None, metrics=None):
        """Writes the model as a file that serves raw rows without Keras: see `serving.export`."""
        from keras_ctr.serving import export  # which stands on top of the zoo

        return export(self, filepath, format, quantize, examples, metrics)

    def push_to_hub(
        self, repo_id, *, metrics=None, license=None, private=False, token=None, message=None
    ):
        """Publishes the model on the Hugging Face Hub, for `zoo.load("hf://…")`.

        The repository gets what Keras keeps there (a config, weights in HDF5, the encoder as JSON
        and text) and a page that says what the model is, its columns and its metrics. The data's
        licence must allow it: vocabularies are values of the training data.

        Args:
            repo_id: `"user/name"`; made where it is not there.
            metrics: dict of numbers for the page, such as `model.evaluate(…, return_dict=True)`.
            license: identifier for the page, such as `"apache-2.0"`.
            private: whether a repository that is made is private.
            token: of the hub; by default that of `hf auth login`, or `$HF_TOKEN`.
            message: of the commit.

        Returns:
            The address of this very version, `"hf://user/name@commit"`.

        Raises:
            ValueError: a model that is not adapted.
            ImportError: `huggingface_hub` is missing (extra `hub`).
        """
        return _hub.push(self, repo_id, metrics, license, private, token, message)
