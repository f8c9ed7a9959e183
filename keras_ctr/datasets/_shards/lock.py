"""`only_one`: of several processes that would write one folder, one does, and the others wait."""

import contextlib
import logging
import os

try:
    import fcntl
except ImportError:  # Windows: there the last one to finish gives way, see `Writer`
    fcntl = None

log = logging.getLogger("keras_ctr")


@contextlib.contextmanager
def only_one(folder):
    """Holds the lock of a folder; it ends with the process, also where that is killed.

    Yields whether it is held.

    Where there are no locks (a file system without them, a parent that cannot be written), nothing
    is held.

    Args:
        folder: `pathlib.Path` of what is to be written, there or not.
    """
    path = folder.with_name(f".{folder.name}.lock")
    file = _locked(path, folder)
    try:
        yield file is not None
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)  # those who wait for it see that it is another file by then
            os.close(file)


def _locked(path, folder):
    """The open file of the lock, once it is ours; `None` where there are no locks."""
    waits = False
    while fcntl is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT)
        except OSError:
            return None
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waits:
                    log.warning("Another process is writing %s: waiting for it.", folder)
                waits = True
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                return file
        except FileNotFoundError:  # its holder is done, and has removed it
            pass
        except OSError:
            os.close(file)
            return None
        os.close(file)
    return None
