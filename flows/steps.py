"""Calls the stages of a run, under Prefect's engine or without it; the stages know neither."""

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
    """Return a stage as a task of the flow run, or as a plain function where there is none."""
    if run.flow_run_id is None:
        return stage.fn

    @wraps(stage.fn)
    def by_reference(*args: P.args, **kwargs: P.kwargs) -> T:
        # Prefect would walk thousands of alerts in search of futures; it hands on what is quoted as it is.
        return stage(*map(quote, args), **kwargs)  # type: ignore[arg-type]

    return by_reference


def step(run: RunContext, stage: Task[P, T]) -> Callable[P, T]:
    """Return a stage that measures its seconds, Prefect's own part included; for what is not awaited."""
    return timed_step(stage.name)(stage_of(run, stage))
