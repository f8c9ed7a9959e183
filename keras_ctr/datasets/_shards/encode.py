"""The two ways that rows of a source go: `encode` to memory, `encode_staged` to shards on disk."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from keras_ctr.datasets._ahead import CORES, in_order
from keras_ctr.datasets._shards.staging import Staging
from keras_ctr.datasets._shards.writer import Writer
from keras_ctr.datasets.sources import SPLITS
from keras_ctr.features.encoder import Encoder

COLUMNS = 4  # of which vocabularies are made at a time: each may need half a gigabyte


def encode(source, root, reader, open_sink, over=iter, encoder=None):
    """Encodes all rows of a source: fits an encoder on those of train, then encodes everything.

    Args:
        source: a `Source`.
        root: folder (or file) of its raw data, or `None`.
        reader: `Reader` of raw files.
        open_sink: function of the fitted encoder; returns a context manager whose value has
            `add(split, arrays)`.
        over: what iterates over the frames, such as a progress bar does.
        encoder: a fitted `Encoder` to use as it is.

    Returns:
        The encoder, and what `open_sink` made.

    Raises:
        ValueError: bad rows; as `Encoder.fit` and `Encoder.encode`.
        OSError: the sink cannot be written.
    """
    if encoder is None:
        encoder = Encoder(source.schema(), source=source.name)
        train = (
            source.known(frame)
            for split, frame in over(source.frames(root, reader))
            if split == "train"
        )
        rows = source.row_numbers("train")
        encoder.fit(*((train,) if rows is None else (next(train), rows)))
    counted, weights = {}, Weights(encoder.schema)
    with open_sink(encoder) as sink:
        for split, frame in over(source.frames(root, reader)):
            rows, first = source.row_numbers(split), counted.get(split, 0)
            arrays = _encoded(encoder, split, frame, source.extras, first if rows is None else rows)
            sink.add(split, arrays)
            counted[split] = first + len(frame)
            weights.see(split, arrays)
        weights.check()
    return encoder, sink


class Weights:
    """Sees to it that no split has weights that are all 0."""

    def __init__(self, schema):
        self._name, self._rows, self._some = schema.weight, {}, {}

    def see(self, split, arrays):
        """Notes the weights of encoded rows."""
        if self._name is not None:
            found = arrays["extra:weight"]
            self._rows[split] = self._rows.get(split, 0) + len(found)
            self._some[split] = self._some.get(split, False) or bool(found.any())

    def check(self):
        """Raises `ValueError` where all weights of a split are 0."""
        for split, some in self._some.items():
            if not some:
                raise ValueError(
                    f"The weight {self._name!r} must not be 0 in every row. "
                    f"Received: {self._rows[split]} rows of {split}, all of weight 0"
                )


def encode_staged(source, root, reader, folder, facts, work, advance, is_same):
    """Encodes all rows of a source that reads files, each of them once, to a store.

    Args:
        source: a `Source`.
        root: folder (or file) of its raw data, or `None`.
        reader: `Reader` of raw files.
        folder: of the store.
        facts: entries of its manifest.
        work: folder for what is unfinished; what a killed run has left there is gone on with.
        advance: called with the share of the work done since the last call, but for reading.
        is_same: function that tells whether the files are still those that were to be read.

    Raises:
        ValueError: bad rows; as `Encoder.fit` and `Encoder.encode`.
        OSError: `work` or `folder` cannot be written.
    """
    encoder = Encoder(source.schema(), source=source.name)
    with contextlib.closing(Staging(work / "rows", encoder, source.extras, folder)) as staging:
        _stage(source, root, reader, staging)
        if not is_same():
            raise ValueError(f"The files of {source.title} have changed while they were read.")
        splits = staging.splits(source)
    ids = _fit(encoder, staging, splits, lambda: advance(0.4 / len(staging.coded)))
    with Writer(folder, encoder, facts, work / "store") as writer:
        weights = Weights(encoder.schema)
        for split, arrays in writer.shards():
            weights.see(split, arrays)
        todo = _todo(staging, splits, writer)
        first = _first_rows(staging)
        encoded = partial(_encoded_block, source, staging, splits, first, encoder, ids)
        for parts, left_out in in_order(encoded, todo):
            for split, arrays in parts:
                writer.add(split, arrays)
                weights.see(split, arrays)
            for split, count in left_out:
                writer.skip(split, count)
            advance(0.6 / len(staging.blocks))
        weights.check()


def _stage(source, root, reader, staging):
    """Reads what is not staged yet."""
    known = len(staging.blocks)
    reader.located = source.resumable
    if known and source.resumable:
        reader.resume(staging.blocks[-1]["position"])
    rows = {}
    for block in staging.blocks:
        rows[block["split"]] = rows.get(block["split"], 0) + block["rows"]
    skipped = _Skipped(reader, source.resumable)

    def frames():
        at = 0 if not source.resumable else known
        for split, frame in source.frames(root, reader):
            at += 1
            if at <= known or not len(frame):
                at -= not len(frame)
                continue
            first = rows.get(split, 0)
            rows[split] = first + len(frame)
            facts = {"split": split, "skipped": skipped.since(split), "position": reader.position}
            yield at - 1, frame, first, facts

    def stage(item):
        at, frame, first, facts = item
        split = facts["split"]
        return staging.stage(frame, at, first, "" if split is None else f"In {split}: ") | facts

    for block in in_order(stage, frames()):
        staging.keep(block)
    if staging.blocks:
        staging.blocks[-1]["skipped"] += skipped.since(staging.blocks[-1]["split"])  # at the end


class _Skipped:
    """Tells of which split the malformed rows are that have been left out.

    Args:
        reader: `Reader`.
        by_file: whether each frame comes from the file where `reader.position` is.
    """

    def __init__(self, reader, by_file):
        self._reader, self._by_file = reader, by_file
        self._told, self._last = {}, None
        reader.skipped, reader.skipped_in = 0, {}

    def since(self, split):
        """Returns `[split, rows]` pairs: those left out since the last call, before a frame."""
        reader, found = self._reader, []
        here = reader.position["path"] if self._by_file and reader.position else None
        for path, count in reader.skipped_in.items():
            new = count - self._told.get(path, 0)
            if new:
                before = self._last is not None and here is not None and path != here
                found.append([self._last[0] if before else split, new])
            self._told[path] = count
        self._last = (split,)
        return found


def _fit(encoder, staging, splits, done):
    """Fits an encoder on training rows that were read once.

    Args:
        encoder: `Encoder`, not yet fitted.
        staging: `Staging` of all rows.
        splits: the split of the rows of each of its blocks, int8; 0: to train on.
        done: called once per coded column.

    Returns:
        `{name: ids}` of the coded columns: for each block, the int32 ids of its tokens.
    """
    held_out = [np.flatnonzero(split) for split in splits]

    def learnt(name):
        def block(at):
            tokens, codes = staging.tokens(at, name), staging.codes(at, name)
            counts = np.bincount(codes, minlength=len(tokens))
            if len(held_out[at]):
                counts -= np.bincount(codes[held_out[at]], minlength=len(tokens))
            return tokens, counts

        sizes = [staging.size(at, name) for at in range(len(splits))]
        found = encoder.learn(name, sizes, block, staging.is_packed(name))
        done()
        return found

    with ThreadPoolExecutor(min(CORES, COLUMNS)) as pool:
        ids = dict(zip(staging.coded, pool.map(learnt, staging.coded), strict=True))
    names = [name for name in encoder.given.columns if name not in ids]
    some = [at for at, split in enumerate(splits) if not split.all()]
    first = _first_rows(staging)
    encoder.fit(
        (staging.rest(at, names).filter(splits[at] == 0) for at in some),
        (first[at] + np.flatnonzero(splits[at] == 0) for at in some),
    )
    return ids


def _first_rows(staging):
    """The number of the first row of each block, among those of its split."""
    rows, found = {}, []
    for block in staging.blocks:
        found.append(rows.get(block["split"], 0))
        rows[block["split"]] = found[-1] + block["rows"]
    return found


def _todo(staging, splits, writer):
    """Yields the blocks of which shards are missing: `(block, {split: rows that are there})`."""
    there = {name: writer.written(name) for name in SPLITS}
    for at, split in enumerate(splits):
        counts = _counts(split)
        drop = {name: min(there[name], count) for name, count in counts.items()}
        for name in SPLITS:
            there[name] -= drop[name]
        if drop == counts:
            for name, count in _skipped(staging.blocks[at], counts):
                writer.skip(name, count)
        else:
            yield at, drop


def _encoded_block(source, staging, splits, first, encoder, ids, item):
    """The encoded rows of a block, `(split, arrays)` for each of its splits, and `_skipped`."""
    at, drop = item
    block, found = staging.blocks[at], []
    columns = {name: of[at][staging.codes(at, name)] for name, of in ids.items()}
    rest = staging.rest(at)
    arrays = _encoded(encoder, block["split"], rest, source.extras, first[at], columns)
    left_out = _skipped(block, _counts(splits[at]))
    for number, name in enumerate(SPLITS):
        rows = np.flatnonzero(splits[at] == number)
        if len(rows):
            rows = rows[drop[name] :]
            whole = len(rows) == block["rows"]
            part = {key: array if whole else array[rows] for key, array in arrays.items()}
            found.append((name, part))
    return found, left_out


def _counts(split):
    """`{split: rows}` of a block."""
    return dict(zip(SPLITS, np.bincount(split, minlength=len(SPLITS)).tolist(), strict=True))


def _skipped(block, counts):
    """The malformed rows left out before a block: `(split, rows)` pairs."""
    first = next(name for name in SPLITS if counts[name])  # of a file that is yet to be cut
    return [(first if split is None else split, count) for split, count in block["skipped"]]


def _encoded(encoder, split, frame, extras, first_row, ids=None):
    """Like `Encoder.encode`, but labels must be there, extras come too, errors name the split."""
    schema, where = encoder.schema, "" if split is None else f"In {split}: "
    needed = (schema.label, schema.group, schema.weight)
    absent = [name for name in needed if name is not None and name not in frame.columns]
    if absent:
        raise ValueError(f"The {split} rows must have the columns {', '.join(absent)}.")
    try:
        arrays = encoder.encode(frame, first_row=first_row, ids=ids)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error
    if "weight" in arrays:
        arrays["extra:weight"] = arrays.pop("weight")
    for name in extras:
        arrays[f"extra:{name}"] = frame[name].to_numpy().astype(np.float32)
    return arrays
