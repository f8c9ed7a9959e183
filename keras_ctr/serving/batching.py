"""`Batcher`: requests that arrive together are run together."""

import asyncio
import collections
import concurrent.futures

import numpy as np


class Batcher:
    """Collects the arrays of concurrent requests, runs them as one batch, and hands the parts back.

    While a batch runs, others pile up and are the next one: nobody waits for a timer, so that a
    single request is not slowed down, and under load batches grow by themselves.

    Args:
        run: function of arrays `{column: (N, width)}` that returns `(N, 1)`; called in a thread.
        most_rows: largest number of rows of a batch; a request with more is a batch of its own.
        most_waiting: rows that may wait; requests beyond are refused.
        observe: function of the number of rows of each batch that is run.
    """

    def __init__(self, run, most_rows=512, most_waiting=20_000, observe=lambda rows: None):
        self.run = run
        self.most_rows = most_rows
        self.most_waiting = most_waiting
        self.observe = observe
        self.waiting = 0  # rows
        self._queue = collections.deque()
        self._worker = None
        self._pool = concurrent.futures.ThreadPoolExecutor(1, "keras_ctr")

    async def predict(self, arrays):
        """Returns the probabilities `(N, 1)` of a request's rows.

        Raises:
            OverflowError: too many rows are waiting already.
        """
        rows = len(next(iter(arrays.values())))
        if self.waiting + rows > max(self.most_waiting, rows):
            raise OverflowError(f"{self.waiting} rows are waiting")
        self.waiting += rows
        answer = asyncio.get_running_loop().create_future()
        self._queue.append((arrays, rows, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await answer
        finally:
            self.waiting -= rows

    async def _work(self):
        while self._queue:
            taken = [self._queue.popleft()]
            total = taken[0][1]
            while self._queue and total + self._queue[0][1] <= self.most_rows:
                total += self._queue[0][1]
                taken.append(self._queue.popleft())
            self.observe(total)
            await self._answer(taken)

    async def _answer(self, taken):
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._pool, self._together, taken)
        except Exception as error:
            if len(taken) > 1:  # one of them is at fault: each by itself
                for each in taken:
                    await self._answer([each])
            elif not taken[0][2].done():
                taken[0][2].set_exception(error)
            return
        start = 0
        for _, rows, answer in taken:
            if not answer.done():  # the client may have gone
                answer.set_result(found[start : start + rows])
            start += rows

    def _together(self, taken):
        if len(taken) == 1:
            return self.run(taken[0][0])
        names = taken[0][0]
        return self.run(
            {name: np.concatenate([arrays[name] for arrays, _, _ in taken]) for name in names}
        )
