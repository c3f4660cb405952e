"""How long to wait before a process is started again."""


class Backoff:
    """The first pause is short. Each one is twice as long as the one before, up to `longest`; a good run starts over. Times are seconds."""

    def __init__(self, first: float = 0.5, longest: float = 30.0, good_run: float = 60.0) -> None:
        self._first, self._longest, self._good_run = first, longest, good_run
        self._next = first

    def pause_after(self, ran_for: float) -> float:
        if ran_for >= self._good_run:
            self._next = self._first
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause
