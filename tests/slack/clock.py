"""A clock for code that waits, so that no test really waits."""


class Clock:
    """A clock that advances only when something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
