"""`fetch`: the raw files of a data set, downloaded where they are missing and may be.

From the Hugging Face Hub by `huggingface_hub`, from plain web servers by `pooch`. What was begun is
gone on with; a file has its final name only when its checksum is right.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import os
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from keras_ctr.datasets._shards.lock import only_one
from keras_ctr.datasets.progress import Progress

# Base addresses. That of the hub is `$HF_ENDPOINT`, or what `huggingface_hub` takes without it.
HOSTS = {
    "hub": None,
    "grouplens": "https://files.grouplens.org/datasets/movielens",
    "github": "https://raw.githubusercontent.com",
}
EXTRAS = {"huggingface_hub": "hub", "pooch": "data"}
CHUNK = 2**16  # bytes written at once: as much is lost where a connection ends
TIMEOUT = 30  # seconds without an answer
WHOLE = 416  # status of a server that is asked to go on behind the end of a file
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)


@dataclasses.dataclass(frozen=True)
class Download:
    """A file on a server: one of the raw files, or a .zip archive with several of them.

    Args:
        host: key of `HOSTS`.
        path: the file below that address; on the hub `"owner/repository/file"` of a data set.
        md5: its checksum in hexadecimal digits; `None` if it is not known.
        size: its bytes; `None` if they are not known.
        members: of an archive, `{file in it: md5 or None}` of those to unpack, by their names
            without folders.
    """

    host: str
    path: str
    md5: str | None = None
    size: int | None = None
    members: dict | None = None

    @property
    def name(self):
        """Name of the file itself."""
        return self.path.rpartition("/")[2]

    @property
    def files(self):
        """`{raw file that it gives: md5 or None}`."""
        return {self.name: self.md5} if self.members is None else self.members


def fetch(source, root, cache):
    """Downloads the raw files of a source, unless they are there, and returns their folder.

    Args:
        source: a `Source`.
        root: folder for the files; `None`: the usual places, and for what is downloaded
            `raw/<name>` in the cache.
        cache: folder of the cache.

    Raises:
        ValueError: the terms of the data set forbid it; a wrong checksum, a damaged archive.
        OSError: no connection, or another error of the server or the disk. What has arrived is
            kept, and gone on with the next time.
        ImportError: `huggingface_hub` (extra `hub`) or `pooch` (extra `data`) is missing.
    """
    with contextlib.suppress(FileNotFoundError):
        found = source.locate(root, cache)
        source.files(found)
        return found
    home = Path(cache) / "raw"
    folder = home / (source.folders or [source.title])[0] if root is None else Path(root)
    if not source.downloads:
        why = source.forbids or "it names no `downloads`."
        raise ValueError(
            f"{source.title} cannot be downloaded for you: {why} {source.get} "
            f"Put the files in {folder}."
        )
    work = folder / ".download"
    with only_one(folder):
        for download in source.downloads:
            if not all((folder / name).is_file() for name in download.files):
                work.mkdir(parents=True, exist_ok=True)
                path = (_from_hub if download.host == "hub" else _from_web)(download, work, source)
                _deliver(download, path, folder)
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _from_hub(download, work, source):
    """Downloads a file of the hub, and returns its path."""
    hub = _required("huggingface_hub", source)
    owner, repository, file = download.path.split("/", 2)
    where = {"repo_type": "dataset", "endpoint": HOSTS["hub"], "local_dir": work}
    try:
        return Path(hub.hf_hub_download(f"{owner}/{repository}", file, **where))
    except Exception as error:  # of whatever HTTP library the hub's client has at present
        raise _interrupted(download, source, error) from error


def _from_web(download, work, source):
    """Downloads a file of a web server, and returns its path."""
    pooch = _required("pooch", source)
    pooch.get_logger().setLevel("WARNING")  # there is a bar
    known = None if download.md5 is None else f"md5:{download.md5}"
    url = f"{HOSTS[download.host]}/{download.path}"
    how = {"known_hash": known, "fname": download.name, "downloader": _Resumed(download, work)}
    try:
        return Path(pooch.retrieve(url, path=work, **how))
    except OSError as error:
        raise _interrupted(download, source, error) from error


def _interrupted(download, source, error):
    why = " ".join(str(error).split()).rstrip(".")
    return OSError(
        f"{download.name} of {source.title} could not be downloaded: {why}. Try again, to go on "
        f"where it stopped; or by hand: {source.get}"
    )


def _deliver(download, path, folder):
    """Puts what was downloaded in the folder of raw files, under its final name."""
    if download.members is not None:
        _unpack(path, folder, download.members)
        return
    if download.md5 is not None:
        with open(path, "rb") as file:
            _check(download.name, download.md5, hashlib.file_digest(file, "md5").hexdigest(), path)
    os.replace(path, folder / download.name)


class _Resumed:
    """A downloader for `pooch` that goes on where an earlier one stopped.

    Args:
        download: the `Download`.
        work: folder in which what has arrived is kept, as `<name>.part`.
    """

    def __init__(self, download, work):
        self.download = download
        self.part = work / f"{download.name}.part"

    def __call__(self, url, output_file, pooch):
        import requests

        done = self.part.stat().st_size if self.part.is_file() else 0
        headers = {"Accept-Encoding": "identity"}  # bytes of the file are counted
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if not (done and answer.status_code == WHOLE):
                answer.raise_for_status()
                self._receive(answer, done if answer.status_code == 206 else 0)
        os.replace(self.part, output_file)

    def _receive(self, answer, done):
        length = answer.headers.get("Content-Length")
        total = self.download.size or 0 if length is None else done + int(length)
        title = f"Downloading {self.download.name}"
        with Progress(title, total) as progress, open(self.part, "ab" if done else "wb") as file:
            progress.advance(done)
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                progress.advance(len(chunk))
                done += len(chunk)
        if done < total:
            raise OSError(f"the connection ended after {done:,} of {total:,} bytes")


def _unpack(archive, folder, members):
    """Unpacks files of an archive to a folder, and removes the archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            inside = {
                PurePosixPath(name).name: name
                for name in opened.namelist()
                if not name.endswith("/") and not name.startswith("__MACOSX")
            }
            missing = [name for name in members if name not in inside]
            if missing:
                raise ValueError(
                    f"{archive.name} must hold {', '.join(members)}. "
                    f"Received: {', '.join(inside) or 'none'}"
                )
            sizes = sum(opened.getinfo(inside[name]).file_size for name in members)
            with Progress(f"Unpacking {archive.name}", sizes) as progress:
                for name, md5 in members.items():
                    part = archive.with_name(f"{name}.part")
                    with opened.open(inside[name]) as file:
                        _check(name, md5, _copy(file, part, progress), part, archive)
                    os.replace(part, folder / name)
    except _DAMAGE as error:
        archive.unlink()
        raise ValueError(
            f"{archive.name} must be a whole archive. Received: {error}. It was removed: try again."
        ) from error
    archive.unlink()


def _copy(file, path, progress):
    """Writes an open file to a path, and returns its md5 sum."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "wb") as out:
        while chunk := file.read(CHUNK):
            out.write(chunk)
            digest.update(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()


def _check(name, expected, found, *paths):
    """Raises `ValueError`, and removes what was downloaded, unless a checksum is as expected."""
    if expected is not None and found != expected:
        for path in paths:
            path.unlink()
        raise ValueError(
            f"{name} must have the md5 sum {expected}. Received: {found}. It was removed."
        )


def _required(name, source):
    """Imports the client of a server."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"The download of {source.title} needs the package {name}: "
            f"`pip install keras-ctr[{EXTRAS[name]}]`. Or by hand: {source.get}"
        ) from error
