"""What the client reads: history, origin, status, predictions, logs, and an API on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gitops_ml.capture.packaged_class import source_folder
from gitops_ml.client import cards
from gitops_ml.client.cards import Result, Shown, proposed_rows
from gitops_ml.client.connection import Connection
from gitops_ml.client.past import Trace
from gitops_ml.client.python_terms import in_python, speaks_python
from gitops_ml.cluster.observed import Application, Event, Scaler
from gitops_ml.cluster.replicas import preflight_note
from gitops_ml.commands import predict as prediction
from gitops_ml.commands.get import Description, describe
from gitops_ml.commands.inspect import export
from gitops_ml.commands.logs import CONTAINER, LogLine, logs
from gitops_ml.commands.model import is_elsewhere, name_models
from gitops_ml.commands.predict import Call, predict, predict_at
from gitops_ml.commands.run import start
from gitops_ml.commands.wait import WaitPolicy, wait
from gitops_ml.delivery.awaited import Expected
from gitops_ml.delivery.change import refuse_unreadable
from gitops_ml.delivery.proposals import Proposed, proposed_releases
from gitops_ml.errors import PredictionFailed, UsageError
from gitops_ml.facts.result_facts import description_facts, prediction_facts
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.forge.pull_request import PullRequest, review_place
from gitops_ml.models.saved import model_folder
from gitops_ml.oci.reference import ImageRef
from gitops_ml.predictions.observed_predictions import Predictions
from gitops_ml.release.model_artifacts import parse_location
from gitops_ml.runtime.serve import LocalServer
from gitops_ml.system.clean_text import printable
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.from_dicts import DescribedApi
from gitops_ml.workspace.workspace import Workspace

_SAME_AS_FACTS = (
    "api", "environment", "namespace", "status", "state", "deployment_id", "running_id", "ready", "requested",
    "is_up_to_date", "endpoint",
)  # fmt: skip


@speaks_python
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Status(Result):
    """The status of an API: one word, the reason, and what to do."""

    api: str
    environment: str
    namespace: str
    status: str
    """The code of the status, as in Cortex: ``status_live``, …"""
    state: str
    """``live``, ``updating``, ``pending``, ``error``, ``error (image pull)``, …, as in Cortex."""
    reason: str
    remedy: str
    deployment_id: str
    """The deployment id in Git."""
    running_id: str | None
    """The deployment id that runs."""
    ready: int | None
    requested: int | None
    is_up_to_date: bool | None
    endpoint: str | None
    """Its URL outside the cluster, if it has one."""
    replicas: tuple[tuple[str, str], ...]
    """Name and state of each."""
    notes: tuple[str, ...]
    proposed: tuple[Proposed, ...] = ()
    """What open pull requests would make of it."""
    _found: Description = field(compare=False)

    @classmethod
    def read(cls, connection: Connection, api: str) -> Status:
        with connection.open() as (workspace, clients):
            where = connection.environment
            proposed = proposed_releases(workspace, clients=clients, environment=where, api=api)
            try:
                found = describe(workspace, api, clients=clients, environment=where)
            except UsageError as error:
                if not proposed:
                    raise
                place = review_place(proposed[-1].pull_request)
                raise UsageError(
                    f"{api} is not deployed to {where} yet; proposed: {place}"
                ) from error
            return replace(cls.of(found), proposed=proposed)

    @classmethod
    def of(cls, found: Description) -> Status:
        live, facts = found.live, description_facts(found)
        return cls(
            **{name: facts[name] for name in _SAME_AS_FACTS},
            reason=in_python(live.status.reason),
            remedy=in_python(live.status.remedy),
            replicas=tuple((each.pod.name, each.state) for each in found.replicas),
            notes=tuple(map(in_python, (*live.notes, *found.unseen))),
            _found=found,
        )

    @property
    def image(self) -> ImageRef:
        return self._found.live.release.image

    @property
    def last_update(self) -> datetime | None:
        return self._found.live.updated_at

    @property
    def argo_cd(self) -> Application | None:
        """What Argo CD says of its Application."""
        return self._found.live.seen.application

    @property
    def autoscaler(self) -> Scaler | None:
        workload = self._found.live.seen.workload
        return workload.scaler if workload else None

    @property
    def preflight(self) -> str | None:
        """What became of the Job that tries a new image."""
        preflight = self._found.live.seen.preflight
        return preflight_note(preflight) if preflight else None

    @property
    def events(self) -> tuple[Event, ...]:
        return self._found.events

    @property
    def unseen(self) -> tuple[str, ...]:
        """Why something could not be read."""
        return tuple(map(in_python, self._found.unseen))

    @property
    def predictions(self) -> tuple[Predictions, ...]:
        """What its deployments predict, where that is tracked."""
        return self._found.predictions

    def _facts(self) -> Facts:
        return description_facts(self._found)

    @property
    def is_live(self) -> bool:
        return self.state == "live"

    def __str__(self) -> str:
        return self.state

    def _card(self) -> cards.Card:
        is_other = self.running_id not in (None, self.deployment_id)
        return cards.Card(
            title=f"{self.api} in {self.environment}",
            state=self.state,
            rows=(
                cards.Row("why", self.reason),
                cards.Row("what to do", self.remedy),
                cards.Row("deployment", self.deployment_id),
                cards.Row("running", self.running_id if is_other else None),
                cards.Row(
                    "ready", f"{self.ready} of {self.requested}" if self.ready is not None else None
                ),
                cards.Row("endpoint", self.endpoint, link=self.endpoint or ""),
                *proposed_rows(self.proposed),
            ),
            head=("replica", "state"),
            table=self.replicas,
            notes=self.notes,
        )


@speaks_python
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Prediction(Result, prediction.Prediction):
    """The response of an API, and its deployment."""

    _connection: Connection = field(compare=False)

    @classmethod
    def of_running(cls, connection: Connection, api: str, payload: Any, call: Call) -> Prediction:
        with connection.open() as (workspace, clients):
            found = predict(
                workspace, api, payload,
                clients=clients, environment=connection.environment, call=call,
            )  # fmt: skip
        return cls.from_verb(found, _connection=connection)

    def _facts(self) -> Facts:
        return prediction_facts(self)

    def trace(self) -> Trace:
        """The origin of the deployment that answered: commit, image, source, manifest.

        Raises:
            UsageError: the response has no deployment id, or an unknown one.
        """
        return Trace.read(self._connection, self.deployment_id or "")

    def _card(self) -> cards.Card:
        shown = repr(self.value)
        return cards.Card(
            title="prediction",
            rows=(
                cards.Row("value", shown if len(shown) <= 2000 else f"{shown[:2000]}…"),
                cards.Row("deployment", self.deployment_id),
                cards.Row("request", self.request_id),
                cards.Row("took", f"{self.seconds * 1000:.0f} ms"),
            ),
        )


class Logs(Shown, tuple["LogLine", ...]):
    """Log lines of all replicas, ordered by time; `str` is their text."""

    __slots__ = ()

    @classmethod
    def read(
        cls, connection: Connection, api: str, *, tail: int | None, container: str = CONTAINER
    ) -> Logs:
        where = connection.environment
        with connection.open() as (workspace, clients):
            return cls(
                logs(
                    workspace,
                    api,
                    clients=clients,
                    environment=where,
                    tail=tail,
                    container=container,
                )
            )

    def __str__(self) -> str:
        return "".join(f"{line.text}\n" for line in self)

    def __repr__(self) -> str:
        return "\n".join(printable(f"{line.pod}  {line.text}") for line in self)

    def _card(self) -> cards.Card:
        return cards.Card(
            title=cards.counted(len(self), "line"),
            head=("replica", "line"),
            table=tuple((line.pod, line.text) for line in self),
        )


@speaks_python
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LocalApi(Shown):
    """An API that is served on this machine until `stop`, or until the session ends."""

    name: str
    url: str
    folder: Path
    """The folder with its code."""
    _connection: Connection = field(compare=False)
    _server: LocalServer = field(compare=False)
    _kept: ExitStack = field(compare=False)

    def predict(
        self, payload: Any, *, path: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Prediction:
        """Send it a request; bytes are sent unchanged, everything else as JSON.

        Raises:
            UsageError: the payload cannot be JSON.
            PredictionFailed: it answered with an error; has its response.
        """
        try:
            found = predict_at(
                self.url, payload, api=self.name, call=Call(path=path, headers=headers)
            )
        except PredictionFailed as error:
            if traceback := self._server.failure_of(error.request_id):
                raise PredictionFailed(
                    f"{error.message}\n{traceback}",
                    status=error.status, body=error.body, request_id=error.request_id,
                ) from None  # fmt: skip
            raise
        return Prediction.from_verb(found, _connection=self._connection)

    @property
    def log(self) -> str:
        """Its log until now."""
        return self._server.log

    def stop(self) -> None:
        """Stop the server; a second call does nothing."""
        self._kept.close()

    def __enter__(self) -> LocalApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"{self.name} on this machine",
            state="live",
            rows=(
                cards.Row("predictions", f"{self.url}/predict"),
                cards.Row("documentation", "/docs", link=f"{self.url}/docs"),
                cards.Row("files", str(self.folder)),
            ),
        )


def wait_for(
    connection: Connection,
    wanted: Iterable[Expected],
    *,
    proposed: PullRequest | None,
    policy: WaitPolicy,
) -> tuple[Status, ...]:
    """The status of each release, once it is merged and live."""
    with connection.open() as (workspace, clients):
        # Without a cluster the outcome could not be seen, however long it takes.
        refuse_unreadable(workspace, workspace.environments, clients)
        found = wait(workspace, wanted, clients=clients, proposed=proposed, patience=policy)
        return tuple(
            Status.of(
                describe(
                    workspace, live.release.api,
                    clients=clients, environment=live.release.environment,
                )
            )
            for live in found
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCode:
    """What a call has on this machine: the folder of its code, and models that no registry may have."""

    folder: Path | None = None
    models: Mapping[str, Any] = field(default_factory=dict)
    """By name."""
    locations: Mapping[str, str] = field(default_factory=dict)
    """The URL of each model in the manifest, by name."""

    def folders(self, api: str, clients: Clients, opened: ExitStack) -> dict[str, Path]:
        """The folder of each model by its digest, which exists until ``opened`` is closed.

        Raises:
            UsageError: the files of a model are not those of the manifest any more.
        """
        given = {name: each for name, each in self.models.items() if not is_elsewhere(each)}
        now = name_models(api, given, clients=clients)
        if changed := [name for name in now if now[name] != self.locations[name]]:
            raise UsageError(
                f"the model {changed[0]} changed since the API was planned: call create_api again"
            )
        return {
            parse_location(now[name]).digest or "": opened.enter_context(model_folder(name, model))
            for name, model in given.items()
        }


def serve(
    connection: Connection,
    manifest: Mapping[str, Any],
    *,
    name: str,
    image: ImageRef | None,
    code: LocalCode,
    port: int,
) -> LocalApi:
    """Start the server of an API on this machine, with the code of its call or that of its image."""
    with ExitStack() as opened:
        with connection.open() as (project, clients):
            folder = code.folder or _exported(project, name, image, clients, opened)
            described = DescribedApi(
                spec=manifest, folder=folder, manifest_file=f"{source_folder(name)}/api.yaml"
            )
            workspace = connection.workspace(described)
            models = code.folders(name, clients, opened)
            server = start(workspace, clients=clients, port=port, models=models)
        opened.callback(server.stop)
        return LocalApi(
            name=name, url=server.url, folder=folder,
            _connection=connection, _server=server, _kept=opened.pop_all(),
        )  # fmt: skip


def _exported(
    project: Workspace, name: str, image: ImageRef | None, clients: Clients, opened: ExitStack
) -> Path:
    """The code of the image, in a folder that exists until ``opened`` is closed."""
    if image is None or image.digest is None:
        raise UsageError(
            f"{name} has no image to export its code from; give project_dir= to serve a folder"
        )
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
    clients.progress(f"exporting the code of {image.repository}")
    export(project, str(image), folder, clients=clients)
    return folder
