"""`Staging`: rows as they were read, once, on their way to a store.

Blocks of rows in a folder of their own: names as codes of the tokens of their block, everything
else as it is. Splits may be decided and vocabularies be learnt when all blocks are there, and a run
that was killed goes on behind the last whole block.

    blocks.jsonl           a line per block: rows, split, numbers of tokens, checksums, position
    000012.codes           the codes of all coded columns, one column after the other
    000012.keys            the tokens of coded columns of short texts, as `packing` has them
    000012.tokens.ipc      one row of lists: the tokens of each other coded column
    000012.rest.ipc        the other columns
"""

import io
import json
import zlib
from pathlib import Path

import numpy as np
import polars as pl

from keras_ctr.datasets._shards.checking import file_crc32, taken_up
from keras_ctr.datasets._shards.writer import writing
from keras_ctr.datasets.sources import SPLITS
from keras_ctr.features.coding import code_type, coded
from keras_ctr.features.packing import Packed, pack, plain_keys
from keras_ctr.features.tokens import plain, plain_value, texts_of

BLOCKS = "blocks.jsonl"


class Staging:
    """Takes frames in order, and gives their columns back block by block.

    Args:
        folder: where the blocks are; those of a killed run are taken up.
        encoder: the `Encoder`, not yet fitted, that will encode them.
        extras: names of further columns.
        store: the folder that all is for, in messages.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder, encoder, extras=(), store=None):
        self.folder = Path(folder)
        self._store = store or folder
        self.schema = encoder.given
        self.coded = encoder.codable
        self.extras = list(extras)
        with writing(self._store):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.blocks = taken_up(self.folder / BLOCKS, self._is_whole)
            self._journal = open(self.folder / BLOCKS, "a", encoding="utf-8")  # noqa: SIM115

    def close(self):
        """Closes the list of blocks."""
        self._journal.close()

    def stage(self, frame, at, first_row, where):
        """Writes a block; several threads may do so at once.

        Args:
            frame: polars data frame, or `Fields`.
            at: number of the block.
            first_row: number of its first row, for messages.
            where: what errors begin with.

        Returns:
            What `keep` takes.
        """
        needed = [name for name in self.schema.columns if name not in frame.columns]
        if needed:
            raise ValueError(f"{where}The rows must have the columns {', '.join(needed)}.")
        codes, tokens, keys, sizes = [], {}, [], []
        hashes = None
        if isinstance(frame, pl.DataFrame):
            frame = frame.rechunk()
            hashes = frame.select(pl.col(self.coded).hash()) if self.coded else None
        for name in self.coded:
            packed = None if hashes is not None else self._packed(frame, name)
            if packed is not None:
                codes.append(packed.codes.astype(code_type(len(packed.keys))).tobytes())
                keys.append(packed.keys)
                sizes.append(-len(packed.keys))
                continue
            try:
                found, texts = self._texts(frame, name, hashes, first_row)
            except ValueError as error:
                raise ValueError(f"{where}{error}") from error
            tokens[name] = plain(texts).alias(name).implode()
            codes.append(found.astype(code_type(len(texts))).tobytes())
            sizes.append(len(texts))
        kept = [name for name in (*self.schema.columns, *self.extras) if name not in self.coded]
        rest = frame.select(kept) if isinstance(frame, pl.DataFrame) else frame.frame(kept)
        files = {"codes": b"".join(codes), "rest.ipc": _ipc(rest)}
        if tokens:
            files["tokens.ipc"] = _ipc(pl.DataFrame(tokens))
        if keys:
            files["keys"] = np.concatenate(keys).tobytes()
        sums = {}
        for ending, content in files.items():
            with writing(self._store), open(self.folder / f"{at:06d}.{ending}", "wb") as file:
                file.write(content)
            sums[ending] = [len(content), zlib.crc32(content)]
        return {"rows": len(frame), "tokens": sizes, "files": sums}

    def _packed(self, fields, name):
        """A column of names as `Packed`, filled and plain; `None` where they have to be texts."""
        feature = self.schema[name]
        fill = 0 if feature.fill is None else pack(plain_value(feature.fill))
        if feature.buckets is not None or fill is None:
            return None
        packed = fields.packed(name)
        if packed is None:
            return None
        keys = np.where(packed.keys == 0, np.uint64(fill), packed.keys) if fill else packed.keys
        return Packed(packed.codes, plain_keys(keys))

    def _texts(self, frame, name, hashes, first_row):
        """The codes of a column, and the tokens that they stand for."""
        packed = frame.packed(name) if hashes is None else None
        if packed is None:
            found = coded(frame[name], None if hashes is None else hashes[name])
            codes, values = found.codes, found.values
        else:
            is_number = self.schema[name].buckets is not None  # and was looked at as one
            codes, values = packed.codes, packed.numbers if is_number else packed.texts()

        def row(at):
            return first_row + int(np.argmax(codes == at))

        texts = texts_of(self.schema[name], values, name, row, fill=True).cast(pl.String)
        again = coded(texts)  # of many numbers, one bucket
        return again.codes[codes], again.values

    def keep(self, block, **facts):
        """Adds a block, written as the next one, to those that are there."""
        block = block | facts
        with writing(self._store):
            self._journal.write(json.dumps(block) + "\n")
            self._journal.flush()
        self.blocks.append(block)

    def codes(self, at, name):
        """The codes of a column of a block, `(rows,)`, unsigned."""
        column, block = self.coded.index(name), self.blocks[at]
        types = [code_type(abs(size)) for size in block["tokens"]]
        start = sum(block["rows"] * kind.itemsize for kind in types[:column])
        path = self.folder / f"{at:06d}.codes"
        return np.fromfile(path, types[column], block["rows"], offset=start)

    def size(self, at, name):
        """How many tokens a column has in a block."""
        return abs(self.blocks[at]["tokens"][self.coded.index(name)])

    def is_packed(self, name):
        """Whether a column has keys for tokens in every block."""
        column = self.coded.index(name)
        return all(block["tokens"][column] < 0 for block in self.blocks)

    def tokens(self, at, name):
        """The tokens that the codes of a block stand for.

        Returns:
            A polars series in which null is a missing value; or, where all are short, their uint64
            keys, of which 0 is the empty text: a missing value, unless the column has a `fill`.
        """
        column, sizes = self.coded.index(name), self.blocks[at]["tokens"]
        if sizes[column] > 0:
            path = self.folder / f"{at:06d}.tokens.ipc"
            return pl.read_ipc(path, columns=[name])[name].explode()
        start = 8 * sum(-size for size in sizes[:column] if size < 0)
        return np.fromfile(self.folder / f"{at:06d}.keys", np.uint64, -sizes[column], offset=start)

    def rest(self, at, names=None):
        """The columns of a block that are not coded, as a data frame."""
        return pl.read_ipc(self.folder / f"{at:06d}.rest.ipc", columns=names)

    def splits(self, source):
        """The split of the rows of every block, int8 arrays: positions in `SPLITS`."""
        open_ones = [at for at, block in enumerate(self.blocks) if block["split"] is None]
        decided = iter(())
        if open_ones:
            names = list(source.decided_by)
            decided = iter(source.split([self.rest(at, names) for at in open_ones]))
        found = []
        for block in self.blocks:
            if block["split"] is None:
                found.append(np.asarray(next(decided), np.int8))
            else:
                found.append(np.full(block["rows"], SPLITS.index(block["split"]), np.int8))
        return found

    def _is_whole(self, at, block):
        for ending, (size, crc32) in block["files"].items():
            path = self.folder / f"{at:06d}.{ending}"
            if not path.is_file() or path.stat().st_size != size or file_crc32(path) != crc32:
                return False
        return True


def _ipc(frame):
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="uncompressed")
    return buffer.getvalue()
