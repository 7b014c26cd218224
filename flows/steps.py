"""Calls the stages of a run, as tasks of Prefect or as plain functions."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect import Task
from prefect.utilities.annotations import quote

from core.run import RunContext
from core.runtime import timed_step

P = ParamSpec("P")
T = TypeVar("T")


def stage_of(run: RunContext, stage: Task[P, T]) -> Callable[P, T]:
    """Return a stage as a task of the flow run, or as a plain function without a flow run."""
    if run.flow_run_id is None:
        return stage.fn

    @wraps(stage.fn)
    def by_reference(*args: P.args, **kwargs: P.kwargs) -> T:
        # Prefect would search thousands of alerts for futures; it passes quoted arguments by reference.
        return stage(*map(quote, args), **kwargs)  # type: ignore[arg-type]

    return by_reference


def step(run: RunContext, stage: Task[P, T]) -> Callable[P, T]:
    """Return a stage that measures its seconds, with Prefect's share; not for a coroutine."""
    return timed_step(stage.name)(stage_of(run, stage))
