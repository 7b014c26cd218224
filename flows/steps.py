"""Times the stages of a run, in one place; the stages know nothing of it."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect import Task

from core.metrics import timed_step

P = ParamSpec("P")
T = TypeVar("T")


def timed(stage: Task[P, T]) -> Callable[P, T]:
    """Call the stage and note its seconds, with Prefect's own part in them: a run waits for both."""

    @wraps(stage.fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with timed_step(stage.name):
            return stage(*args, **kwargs)

    return call


def timed_async(stage: Task[P, Coroutine[object, object, T]]) -> Callable[P, Coroutine[object, object, T]]:
    """Do the same for a stage that is awaited."""

    @wraps(stage.fn)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with timed_step(stage.name):
            return await stage(*args, **kwargs)

    return call
