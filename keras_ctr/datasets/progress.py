"""`Progress`: a bar for work that takes a while, on a terminal only."""

import time

WAIT = 2.0  # seconds of silence: short work shows no bar


class Progress:
    """Shows how far the work is: `with Progress(title, total) as p`, then `p.advance(amount)`.

    Args:
        title: what is being done.
        total: amount of work, in bytes; 0 if it is not known.
    """

    def __init__(self, title, total):
        self.title, self.total = title, total
        self._done, self._bar = 0, None
        self._started = time.monotonic()

    def __enter__(self):
        return self

    def advance(self, amount):
        """Reports that `amount` more bytes have been dealt with."""
        self._done += amount
        if self._bar is None and time.monotonic() - self._started > WAIT:
            self._show()
        if self._bar:
            self._bar.update(self._task, completed=self._done)

    def over(self, steps):
        """Yields from `steps`, so that a bar appears even where no amounts are reported."""
        for step in steps:
            self.advance(0)
            yield step

    def _show(self):
        from rich import console, progress

        screen = console.Console(stderr=True)
        self._bar = progress.Progress(
            console=screen, transient=True, disable=not screen.is_terminal
        )
        self._task = self._bar.add_task(self.title, total=self.total or None)
        self._bar.start()

    def __exit__(self, *error):
        if self._bar:
            self._bar.stop()
