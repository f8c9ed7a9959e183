"""`in_order`: work on several threads, whose results come in the order of what they are made of."""

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

MOST = 16  # more hold too many blocks in memory at a time


def cores():
    """How many threads are worth while: one per core that this process may use, up to `MOST`."""
    usable = getattr(os, "sched_getaffinity", None)
    found = len(usable(0)) if usable else os.cpu_count() or 1
    return min(found, MOST)


CORES = cores()
_working = threading.BoundedSemaphore(CORES)  # of all stages that work side by side


def in_order(function, items, threads=None):
    """Yields `function(item)` for each item, while threads work on the next ones.

    At most `threads + 1` results are held. An error is raised where its result would have come.

    Args:
        function: what releases the GIL most of its time, as NumPy and polars do.
        items: iterable, read on the thread of the caller, one item at a time.
        threads: how many; by default one per core. However many such stages there are, no more
            threads than cores work at a time.
    """
    threads = threads or CORES

    def work(item):
        with _working:
            return function(item)

    waiting = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
