"""Results of the client: values with attributes, shown as cards in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.comparison.example import Example
from gitops_ml.capture.packaged_class import Package
from gitops_ml.client import cards
from gitops_ml.client.arguments import CallKeywords, ChangeKeywords, takes
from gitops_ml.client.cards import (
    PullRequest,
    Result,
    Shown,
    example_rows,
    proposed_rows,
    review_rows,
)
from gitops_ml.client.connection import Connection
from gitops_ml.client.past import History
from gitops_ml.client.predictions_view import AccuracyView, PredictionsView
from gitops_ml.client.python_terms import in_python, speaks_python
from gitops_ml.client.views import (
    LocalApi,
    LocalCode,
    Logs,
    Prediction,
    Status,
    serve,
    wait_for,
)
from gitops_ml.cluster.observed import ExpectedRelease
from gitops_ml.commands.predict import Call
from gitops_ml.commands.wait import WaitPolicy
from gitops_ml.delivery.awaited import below, expected_by
from gitops_ml.delivery.change import (
    WAIT_SECONDS,
    ChangeResult,
    DeliveryResult,
    ReleaseChange,
    changed_values,
)
from gitops_ml.delivery.proposals import Proposed
from gitops_ml.errors import UsageError
from gitops_ml.facts.result_facts import changed_facts
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.git.commits import Change
from gitops_ml.gitops import layout
from gitops_ml.gitops.differences import FieldChange, unified_diff
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_fields
from gitops_ml.oci.reference import ImageRef
from gitops_ml.predictions.from_cluster import DAYS

if TYPE_CHECKING:
    from typing_extensions import Unpack


_EQUAL = "none: this is equal to the current release"


class _Delivered(Shown):
    """What a call changed, or would change."""

    __slots__ = ()

    changes: tuple[Change, ...]
    commit: str | None
    pull_request: PullRequest | None
    is_plan: bool

    @property
    def diff(self) -> str:
        """The changes as a unified diff, without the base charts of gitops-ml."""
        return "".join(map(unified_diff, own_changes(self.changes)))

    @property
    def summary(self) -> str:
        """A short sentence about the outcome."""
        if isinstance(self, Api) and self.is_current:
            return f"deployed as {self.deployment_id}"
        if not self.changes and self.pull_request is None:
            return "nothing to change"
        if self.is_plan:
            return "planned, nothing was changed"
        if self.pull_request is not None:
            return f"proposed: {self.pull_request.url or self.pull_request.head}"
        return f"committed {(self.commit or '')[:12]}"

    def _state(self) -> str:
        if isinstance(self, Api) and self.is_current:
            return "deployed"
        if self.pull_request is not None:
            return "proposed"
        if not self.changes:
            return "unchanged"
        return "plan" if self.is_plan else "committed"


@speaks_python
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Api(_Delivered):
    """One API in one environment, after a call."""

    name: str
    environment: str
    namespace: str
    deployment_id: str | None = None
    """`None` for a source proposal: CI creates it."""
    image: ImageRef | None = None
    """With its digest, except in a plan whose image is not built yet."""
    content: str = "complete"
    """``source`` if code and manifest are proposed, for CI to build."""
    changes: tuple[Change, ...] = ()
    """The changed files of the GitOps repository, or of the source repository."""
    commit: str | None = None
    """The new commit; `None` if nothing changed, or for a plan."""
    pull_request: PullRequest | None = None
    """The pull request of the commit; `None` if the commit is on the branch."""
    is_plan: bool = False
    """Whether nothing was changed (``dry_run=True``)."""
    is_current: bool = False
    """Whether this is a current release, read from the GitOps repository."""
    pods: str | None = None
    """What happens to its pods: ``no restart``, ``rolling, 1 at a time``, …; `None` if nothing changes."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes from packaging the class."""
    package: Path | None = None
    """The folder of the packaged class, as it enters the image."""
    example: Example | None = None
    """The example, and what the class of the session and the packaged class answer to it."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The API as it was submitted."""
    proposed: tuple[Proposed, ...] = ()
    """What open pull requests would make of this current release."""
    _connection: Connection = field(compare=False)
    _code: LocalCode = field(default_factory=LocalCode, compare=False)

    @classmethod
    def of(
        cls,
        result: DeliveryResult,
        manifest: Mapping[str, Any],
        connection: Connection,
        *,
        release: Release | None,
        package: Package | None = None,
        example: Example | None = None,
        code: LocalCode | None = None,
    ) -> Api:
        """A release of a deployment, or without ``release`` a source proposal."""
        place = connection.loaded.project.environments[connection.environment]
        return cls(
            name=str(manifest["name"]),
            environment=place.name,
            namespace=release.namespace if release else place.namespace,
            deployment_id=release.deployment_id if release else None,
            image=release.image if release else None,
            content="complete" if release else "source",
            changes=result.changes,
            commit=result.commit,
            pull_request=PullRequest.of(result.pull_request),
            is_plan=result.dry_run,
            pods=result.pods.get(release.directory) if release else None,
            warnings=tuple(map(in_python, result.warnings)),
            notes=package.notes() if package else (),
            package=package.folder if package else None,
            example=example,
            manifest=manifest,
            _connection=connection,
            _code=code or LocalCode(),
        )

    @classmethod
    def of_release(
        cls,
        release: ReleaseRecord,
        connection: Connection,
        *,
        proposed: tuple[Proposed, ...] = (),
    ) -> Api:
        return cls(
            proposed=proposed,
            name=release.api,
            environment=release.environment,
            namespace=release.namespace,
            deployment_id=release.deployment_id,
            image=release.image,
            is_current=True,
            manifest=release.manifest,
            _connection=connection,
        )

    @classmethod
    def of_proposal(cls, proposed: Proposed, connection: Connection) -> Api:
        """A release that exists in a pull request only."""
        assert proposed.release is not None, "what is to be removed exists"
        return replace(
            cls.of_release(proposed.release, connection),
            is_current=False,
            commit=proposed.pull_request.commit,
            pull_request=PullRequest.of(proposed.pull_request),
        )

    @property
    def fields(self) -> tuple[FieldChange, ...]:
        """What changes in the values of the current release, each with the value before and after."""
        directory = layout.release_directory(self.environment, self.name)
        return tuple(
            each
            for change in self.changes
            if change.path == f"{directory}/{layout.VALUES}" and change.action == "modify"
            for each in changed_values(read_fields(change.before), read_fields(change.after))
        )

    def history(self, *, limit: int | None = 20) -> History:
        """Its deployments, the newest first; see `Client.history`."""
        return History.read(self._connection, self.name, limit=limit)

    def promote(self, *, to: str | None = None, **options: Unpack[ChangeKeywords]) -> Outcome:
        """Promote its current release to the next environment, or to ``to``; see `Client.promote`."""
        from gitops_ml.client.api_client import Client  # it makes results

        return Client(self._connection).promote(self.name, to=to, **options)

    def wait(self, *, timeout: float = WAIT_SECONDS, interval: float = 5) -> Status:
        """Wait until it is merged and live; report progress.

        Raises:
            NotLive: it cannot become live (its pull request was closed, Argo CD cannot sync it, its
                image cannot be pulled, …), or is not live in time; has the reason and what to do.
            UsageError: this is a plan, or CI creates the deployment.
        """
        (status,) = wait_for(
            self._connection,
            [self.expected()],
            proposed=self.pull_request,
            policy=WaitPolicy(timeout=timeout, interval=interval),
        )
        return status

    def expected(self) -> ExpectedRelease:
        """What `wait` waits for.

        Raises:
            UsageError: this is a plan, or CI creates the deployment.
        """
        return ExpectedRelease(
            api=self.name,
            environment=self.environment,
            deployment_id=self._deployment("wait for"),
            commit=None if self.pull_request else self.commit,
            changes=below(self.changes, layout.release_directory(self.environment, self.name)),
        )

    def status(self) -> Status:
        """Its status now; see `Client.status`."""
        return Status.read(self._connection, self.name)

    @takes(CallKeywords, of=Call)
    def predict(self, payload: Any, **call: Unpack[CallKeywords]) -> Prediction:
        """Send it a request; see `Client.predict`."""
        return Prediction.of_running(self._connection, self.name, payload, Call(**call))

    def logs(self, *, tail: int | None = 100) -> Logs:
        """The newest log lines of its replicas; see `Client.logs`."""
        return Logs.read(self._connection, self.name, tail=tail)

    def predictions(self, *, days: float = DAYS) -> PredictionsView:
        """What each of its deployments predicted; see `Client.predictions`."""
        return PredictionsView.read(self._connection, self.name, days=days)

    def accuracy(
        self, logs: Iterable[str | Path], *, every: str = "day", key: str = ""
    ) -> AccuracyView:
        """How often its deployments were right, by day or hour: prediction logs joined with feedback."""
        return AccuracyView.read(self.name, logs, every=every, key=key)

    def run_locally(self, *, port: int = 0) -> LocalApi:
        """Serve it on this machine, also before it is merged; see `Client.run_locally`."""
        return serve(
            self._connection,
            self.manifest,
            name=self.name,
            image=self.image,
            code=self._code,
            port=port,
        )

    def _deployment(self, what: str) -> str:
        if self.is_plan:
            raise UsageError(
                f"{self.name}: there is nothing to {what}: this is a plan (dry_run=True)"
            )
        if self.deployment_id is None:
            raise UsageError(
                f"{self.name}: there is nothing to {what} yet: CI builds and deploys it after the pull request with "
                "its source is merged"
            )
        return self.deployment_id

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"{self.name} in {self.environment}",
            state=self._state(),
            rows=(
                cards.Row("deployment", self.deployment_id),
                cards.image_row(self.image),
                cards.Row("pods", self.pods),
                cards.Row("changes", None if self.changes or self.is_current else _EQUAL),
                *review_rows(self.pull_request, self.commit),
                *proposed_rows(self.proposed),
                *example_rows(self.example),
            ),
            notes=(*map(_field_line, self.fields), *self.notes, *self.warnings),
            diff=tuple(map(unified_diff, own_changes(self.changes))),
            files=len(self.changes),
        )


class Apis(Shown, tuple["Api", ...]):
    """Several APIs, shown as a table."""

    __slots__ = ()

    def _card(self) -> cards.Card:
        environments = ", ".join(dict.fromkeys(api.environment for api in self))
        return cards.Card(
            title=f"APIs in {environments}" if self else "no APIs",
            head=("api", "environment", "state", "deployment", "image", "proposed"),
            table=tuple(
                (
                    api.name,
                    api.environment,
                    api._state(),
                    api.deployment_id or "",
                    str(api.image or "").partition("@")[0],
                    ", ".join(review.name for review in _reviews(api)),
                )
                for api in self
            ),
        )


@speaks_python
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outcome(Result, _Delivered):
    """The result of promote, rollback, patch, refresh or delete."""

    action: str
    releases: tuple[ReleaseChange, ...]
    """The changed releases: ``api``, ``environment``, the deployment ids ``before`` and ``after``, the
    changed ``fields`` of the values, and, for promote, what else ``differs`` from the source."""
    changes: tuple[Change, ...]
    commit: str | None
    """`None` if nothing changed, or for a plan."""
    pull_request: PullRequest | None
    is_plan: bool
    warnings: tuple[str, ...]
    _found: ChangeResult = field(compare=False)
    _connection: Connection = field(compare=False)

    def _facts(self) -> Facts:
        return changed_facts(self._found)

    def wait(self, *, timeout: float = WAIT_SECONDS, interval: float = 5) -> tuple[Status, ...]:
        """Wait until every chosen release is merged and live, or gone, as `Api.wait` does.

        Returns the status of those that are live.
        """
        if self.is_plan:
            names = ", ".join(dict.fromkeys(each.api for each in self.releases)) or "no API changes"
            raise UsageError(
                f"{names}: there is nothing to wait for: this is a plan (dry_run=True)"
            )
        commit = None if self.pull_request else self.commit
        wanted = expected_by(self._found.chosen, self.changes, commit=commit)
        policy = WaitPolicy(timeout=timeout, interval=interval)
        return wait_for(self._connection, wanted, proposed=self.pull_request, policy=policy)

    def _card(self) -> cards.Card:
        names = ", ".join(dict.fromkeys(release.api for release in self.releases))
        return cards.Card(
            title=f"{self.action} {names}".strip(),
            state=self._state(),
            rows=review_rows(self.pull_request, self.commit),
            head=("api", "environment", "pods", "deployment", "before"),
            table=tuple(
                (each.api, each.environment, each.pods, each.after or "removed", each.before or "-")
                for each in self.releases
            ),
            notes=(*self._field_lines(), *self.warnings),
            diff=tuple(map(unified_diff, own_changes(self.changes))),
            files=len(self.changes),
        )

    def _field_lines(self) -> Iterator[str]:
        for release in self.releases:
            for each in release.fields:
                yield f"{release.api}: {_field_line(each)}"
            for each in release.differs:
                yield f"{release.api}: differs from the source environment: {_field_line(each)}"


def own_changes(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The changes outside the base charts."""
    return tuple(change for change in changes if layout.chart_of(change.path) is None)


def _field_line(change: FieldChange) -> str:
    before, after = (repr(value)[:100] for value in (change.before, change.after))
    match change.action:
        case "add":
            return f"{change.path}: {after}"
        case "delete":
            return f"{change.path}: {before} is removed"
    return f"{change.path}: {before} → {after}"


def _reviews(api: Api) -> tuple[PullRequest, ...]:
    found = [each.pull_request for each in api.proposed] if api.proposed else [api.pull_request]
    return tuple(review for each in found if (review := PullRequest.of(each)))
