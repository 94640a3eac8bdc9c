"""Deploy an artifact of a Metaflow run as an API, with the run as its provenance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.client.api_client import Client
from gitops_ml.client.opening import client as open_client
from gitops_ml.client.results import Api
from gitops_ml.documents.markdown import block, code, escaped
from gitops_ml.errors import UsageError

_PATHSPEC = re.compile(r"\w+(/[\w.-]+){0,3}")
_LISTED = 20


@dataclass(frozen=True, slots=True)
class _Found:
    """An artifact of a task."""

    value: Any
    pathspec: str
    """Of the task: ``IrisFlow/123/end/4``."""
    is_inside: bool
    """Whether the current step created it."""


def deploy_from_flow(
    source: Any,
    api_spec: Mapping[str, Any],
    predictor: type | None = None,
    *,
    artifact: str = "model",
    client: Client | None = None,
    env: str | None = None,
    **options: Any,
) -> Api:
    """Deploy an artifact of a Metaflow run, with the task that created it as provenance.

    ``source`` is the flow itself inside a step (``self``), or a Metaflow pathspec:
    ``"IrisFlow"`` (its latest successful run), ``"IrisFlow/123"``, ``"IrisFlow/123/train/7"``;
    or a ``Run``, ``Step`` or ``Task``. The artifact is stored as a model of that name, by its digest;
    the predictor gets it like the ``models`` of `Client.create_api`.

    Inside a step with a ``@card``, the result is added to the card. ``client`` or ``env`` choose the
    environment; ``options`` are those of `Client.create_api`.

    >>> @card                                                            # doctest: +SKIP
    ... @step
    ... def end(self):
    ...     gml.deploy_from_flow(self, spec, IrisPredictor, env="staging")

    Raises:
        UsageError: the run or artifact does not exist, or the run has not succeeded.
        InvalidDocument, Unpackageable, Refused, ServerFailed: see `Client.create_api`.
    """
    if client is not None and env is not None:
        raise UsageError("give client= or env=, not both: a client is for one environment")
    found = _find(source, artifact)
    client = client or open_client(env)
    why = f"The model is {code(artifact)} of the Metaflow task {code(found.pathspec)}."
    api = client.create_api(
        api_spec,
        predictor,
        models={artifact: found.value, **options.pop("models", {})},
        origin={
            "metaflow": found.pathspec,
            "artifact": artifact,
            **(options.pop("origin", None) or {}),
        },
        why="\n\n".join(filter(None, (options.pop("why", ""), why))),
        **options,
    )
    if found.is_inside:
        _add_to_card(api, found)
    return api


def _find(source: Any, artifact: str) -> _Found:
    metaflow = _metaflow()
    if isinstance(source, metaflow.FlowSpec):
        return _found_inside(source, artifact)
    task = _task_of(_named(source) if isinstance(source, str) else source, artifact)
    if artifact not in task:
        raise _no_artifact(task.pathspec, artifact, (each.id for each in task))
    return _Found(task[artifact].data, task.pathspec, is_inside=False)


def _metaflow() -> Any:
    try:
        import metaflow
    except ImportError as error:
        raise UsageError("Metaflow is not installed: pip install metaflow") from error
    return metaflow


def _found_inside(flow: Any, artifact: str) -> _Found:
    from metaflow import current

    pathspec = current.pathspec
    if pathspec is None:
        raise UsageError(
            "this flow is not running: call deploy_from_flow inside a step, or give a run, for example "
            f'deploy_from_flow("{type(flow).__name__}", …)'
        )
    try:
        value = getattr(flow, artifact)
    except AttributeError:
        made = (name for name in vars(flow) if not name.startswith("_"))
        raise _no_artifact(pathspec, artifact, made) from None
    return _Found(value, pathspec, is_inside=True)


def _no_artifact(pathspec: str, artifact: str, known: Iterable[str]) -> UsageError:
    names = sorted(known)[:_LISTED]
    return UsageError(
        f"{pathspec} has no artifact {artifact!r}; it has: {', '.join(names) or 'none'}"
    )


def _named(pathspec: str) -> Any:
    """The flow, run, step or task of that name."""
    metaflow = _metaflow()
    from metaflow.exception import MetaflowException

    if not _PATHSPEC.fullmatch(pathspec):
        raise UsageError(
            f"{pathspec!r} is not a pathspec such as IrisFlow/123 or IrisFlow/123/end/4"
        )
    kinds = (metaflow.Flow, metaflow.Run, metaflow.Step, metaflow.Task)
    try:
        return kinds[pathspec.count("/")](pathspec)
    except MetaflowException as error:
        raise UsageError(
            f"Metaflow finds no {pathspec!r} ({error.message}) in the namespace "
            f"{metaflow.get_namespace()!r} of {metaflow.get_metadata()}"
        ) from error


def _task_of(named: Any, artifact: str) -> Any:
    """The task with the artifact: the given one, or the end task of a run."""
    metaflow = _metaflow()
    if isinstance(named, metaflow.Flow):
        run = named.latest_successful_run
        if run is None:
            raise UsageError(f"no run of {named.id} has succeeded yet")
        named = run
    if isinstance(named, metaflow.Run):
        if not named.successful:
            raise UsageError(
                f"the run {named.pathspec} has not succeeded; to deploy its artifact anyway, give a task"
            )
        return named.end_task
    if isinstance(named, metaflow.Step):
        tasks = list(named)
        if len(tasks) != 1:
            raise UsageError(
                f"{named.pathspec} has {len(tasks)} tasks, each with its own {artifact!r}: give "
                f"one, for example {tasks[0].pathspec!r}"
            )
        return tasks[0]
    if isinstance(named, metaflow.Task):
        return named
    raise UsageError(
        f"a {type(named).__name__} is not a flow, run, step or task of Metaflow, and not a pathspec"
    )


def _add_to_card(api: Api, found: _Found) -> None:
    """Add the result to the card of the step, if it has one."""
    from metaflow import current
    from metaflow.cards import Markdown

    collector = getattr(current, "card", None)
    if collector is not None:
        collector.append(Markdown(card_text(api, found.pathspec)))


def card_text(api: Api, pathspec: str) -> str:
    """The Markdown of the card: the deployment, its environment, and its changes."""
    review = api.pull_request
    facts = (
        f"* review: [{review.name}]({review.url})" if review and review.url else "",
        f"* deployment: {code(api.deployment_id or 'created by CI')}",
        f"* image: {code(str(api.image))}" if api.image else "",
        f"* Metaflow task: {code(pathspec)}",
        *(f"* {escaped(note)}" for note in (*api.notes, *api.warnings)),
    )
    title = f"## {api.name} in {api.environment}: {api.summary}"
    parts = (title, "\n".join(filter(None, facts)), block(api.diff, "diff") if api.diff else "")
    return "\n\n".join(filter(None, parts))
