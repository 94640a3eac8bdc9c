"""What the client's methods return: values with attributes, which show themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitops_ml.client import cards
from gitops_ml.client.cards import Shown
from gitops_ml.cluster.status_words import ExpectedRelease
from gitops_ml.commands.wait import WaitPolicy
from gitops_ml.errors import UsageError
from gitops_ml.forge import pull_request
from gitops_ml.gitops import layout
from gitops_ml.gitops.differences import unified_diff

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gitops_ml.client.accounts import Logs, Prediction, Status
    from gitops_ml.client.local import LocalApi
    from gitops_ml.client.verbs import Client
    from gitops_ml.delivery.change import ChangeResult, ReleaseChange
    from gitops_ml.git.model import Change
    from gitops_ml.gitops.differences import FieldChange
    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.oci.reference import ImageRef


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PullRequest(Shown):
    """Where changes wait for their review."""

    number: int
    """0 where there is a branch and no forge."""
    url: str
    """The page for people; without a forge the one that opens a pull request, if it is known."""
    title: str
    state: str
    """``open``, ``merged`` or ``closed``."""
    head: str
    base: str
    commit: str | None
    merge_commit: str | None
    is_draft: bool

    @classmethod
    def of(cls, found: pull_request.PullRequest | None) -> PullRequest | None:
        if found is None:
            return None
        return cls(
            number=found.number,
            url=found.url,
            title=found.title,
            state=found.state,
            head=found.head,
            base=found.base,
            commit=found.commit,
            merge_commit=found.merge_commit,
            is_draft=found.is_draft,
        )

    def asked(self) -> pull_request.PullRequest:
        """As the verbs know it."""
        return pull_request.PullRequest(
            number=self.number,
            url=self.url,
            title=self.title,
            state=self.state,
            head=self.head,
            base=self.base,
            commit=self.commit,
            merge_commit=self.merge_commit,
            is_draft=self.is_draft,
        )

    @property
    def name(self) -> str:
        """``#12``, or the branch where there is no forge."""
        return f"#{self.number}" if self.number else self.head

    def _card(self) -> cards.Card:
        state = "draft" if self.is_draft and self.state == "open" else self.state
        kind = "pull request" if self.number else "branch"
        return cards.Card(
            title=self.title,
            state=state if self.number else "pushed",
            rows=(
                cards.Row(kind, self.name, link=self.url),
                cards.Row("branches", f"{self.head} → {self.base}"),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Api(Shown):
    """One API in one environment, as a call left it."""

    name: str
    environment: str
    namespace: str
    deployment_id: str | None = None
    """`None` for a source proposal: CI makes it."""
    image: ImageRef | None = None
    """With its digest, unless this is a plan whose image is not built yet."""
    content: str = "complete"
    """``source`` where code and manifest are proposed, for CI to build."""
    changes: tuple[Change, ...] = ()
    """The files that change: in the GitOps repository, or in the source repository."""
    commit: str | None = None
    """The new commit; `None` where nothing had to change, or for a plan."""
    pull_request: PullRequest | None = None
    """Where the commit waits for its review; `None` where it is on the branch."""
    is_plan: bool = False
    """Whether this is what would happen (``dry_run=True``)."""
    is_standing: bool = False
    """Whether this was read from the GitOps repository, and nothing was asked to change."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was found out while the class was packaged."""
    package: Path | None = None
    """The folder that the class was packaged in, as it enters the image."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The API as it was submitted."""
    client: Client = field(compare=False)

    @classmethod
    def standing(cls, release: ReleaseRecord, client: Client) -> Api:
        """A release as it stands in the GitOps repository."""
        return cls(
            name=release.api,
            environment=release.environment,
            namespace=release.namespace,
            deployment_id=release.deployment_id,
            image=release.image,
            is_standing=True,
            manifest=release.manifest,
            client=client,
        )

    @property
    def diff(self) -> str:
        """What changes, as a unified diff; base charts, which come with gitops-ml, are left out."""
        return _diff(self.changes)

    @property
    def summary(self) -> str:
        """What has become of it, in a few words."""
        return _summary(self)

    def wait(self, *, timeout: float = 1800, interval: float = 5) -> Status:
        """Wait until it is merged and live; tells what it waits for.

        Raises:
            NotLive: it cannot become live (its pull request was closed, Argo CD cannot sync it, its
                image cannot be pulled, …), or has not in time; says why and what to do.
            UsageError: this is a plan, or CI makes the deployment.
            Refused, ServerFailed: the repository, the forge or the cluster cannot be asked.
        """
        wanted = ExpectedRelease(
            api=self.name,
            environment=self.environment,
            deployment_id=self._deployment("wait for"),
            commit=None if self.pull_request else self.commit,
        )
        (status,) = self.client.wait_for(
            [wanted],
            proposed=self.pull_request,
            patience=WaitPolicy(timeout=timeout, interval=interval),
        )
        return status

    def status(self) -> Status:
        """How it is now: see `Client.status`."""
        return self.client.status(self.name)

    def predict(
        self,
        payload: Any,
        *,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        address: str | None = None,
    ) -> Prediction:
        """Ask it for a prediction: see `Client.predict`."""
        return self.client.predict(
            self.name, payload, path=path, headers=headers, timeout=timeout, address=address
        )

    def logs(self, *, tail: int | None = 100) -> Logs:
        """The newest log lines of its replicas: see `Client.logs`."""
        return self.client.logs(self.name, tail=tail)

    def run_locally(self, *, port: int = 0) -> LocalApi:
        """Serve it on this machine, also before anybody has merged it: see `Client.run_locally`."""
        return self.client.run_locally(self, port=port)

    def _deployment(self, what: str) -> str:
        if self.is_plan:
            raise UsageError(f"there is nothing to {what}: this is a plan (dry_run=True)")
        if self.deployment_id is None:
            raise UsageError(
                f"there is nothing to {what} yet: CI builds and deploys it once the pull request with "
                "its source is merged"
            )
        return self.deployment_id

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"{self.name} in {self.environment}",
            state=_state(self),
            rows=(
                cards.Row("deployment", self.deployment_id),
                cards.Row("image", str(self.image) if self.image else None),
                *_review_rows(self.pull_request, self.commit),
            ),
            notes=(*self.notes, *self.warnings),
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
            head=("api", "environment", "deployment", "image"),
            table=tuple(
                (api.name, api.environment, api.deployment_id or "", _short_image(api.image))
                for api in self
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outcome(Shown):
    """What became of a verb that changes what stands: promote, rollback, patch, refresh, delete."""

    action: str
    releases: tuple[ReleaseChange, ...]
    """Those that change: ``api``, ``environment``, the deployment ids ``before`` and ``after``, the
    ``fields`` of the values that change, and what else ``differs`` between two environments."""
    changes: tuple[Change, ...]
    commit: str | None
    """`None` where nothing had to change, or for a plan."""
    pull_request: PullRequest | None
    is_plan: bool
    warnings: tuple[str, ...]
    client: Client = field(compare=False)

    @classmethod
    def of(cls, changed: ChangeResult, client: Client) -> Outcome:
        return cls(
            action=changed.action,
            releases=changed.releases,
            changes=changed.changes,
            commit=changed.commit,
            pull_request=PullRequest.of(changed.pull_request),
            is_plan=changed.dry_run,
            warnings=changed.warnings,
            client=client,
        )

    @property
    def diff(self) -> str:
        """What changes in the GitOps repository, as a unified diff."""
        return _diff(self.changes)

    @property
    def summary(self) -> str:
        """What has become of it, in a few words."""
        return _summary(self)

    def wait(self, *, timeout: float = 1800, interval: float = 5) -> tuple[Status, ...]:
        """Wait until it is merged and live; what was removed is not waited for.

        Raises:
            NotLive, UsageError, Refused, ServerFailed: see `Api.wait`.
        """
        if self.is_plan:
            raise UsageError("there is nothing to wait for: this is a plan (dry_run=True)")
        wanted = [
            ExpectedRelease(
                api=each.api,
                environment=each.environment,
                deployment_id=each.after,
                commit=None if self.pull_request else self.commit,
            )
            for each in self.releases
            if each.after
        ]
        patience = WaitPolicy(timeout=timeout, interval=interval)
        return self.client.wait_for(wanted, proposed=self.pull_request, patience=patience)

    def _card(self) -> cards.Card:
        names = ", ".join(dict.fromkeys(release.api for release in self.releases))
        told = [
            f"{release.api}: {line}"
            for release in self.releases
            for line in (
                *map(_field_line, release.fields),
                *(f"differs from where it came: {_field_line(each)}" for each in release.differs),
            )
        ]
        return cards.Card(
            title=f"{self.action} {names}".strip(),
            state=_state(self),
            rows=_review_rows(self.pull_request, self.commit),
            head=("api", "environment", "deployment", "before"),
            table=tuple(
                (each.api, each.environment, each.after or "removed", each.before or "-")
                for each in self.releases
            ),
            notes=(*told, *self.warnings),
            diff=tuple(map(unified_diff, own_changes(self.changes))),
            files=len(self.changes),
        )


def _diff(changes: Iterable[Change]) -> str:
    return "".join(map(unified_diff, own_changes(changes)))


def _summary(result: Api | Outcome) -> str:
    if isinstance(result, Api) and result.is_standing:
        return f"deployed as {result.deployment_id}"
    if not result.changes:
        return "nothing to change"
    if result.is_plan:
        return "planned, nothing is changed"
    if result.pull_request is not None:
        return f"proposed: {result.pull_request.url or result.pull_request.head}"
    return f"committed {(result.commit or '')[:12]}"


def own_changes(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Those that are not of a base chart."""
    return tuple(change for change in changes if layout.chart_of(change.path) is None)


def _state(result: Api | Outcome) -> str:
    if isinstance(result, Api) and result.is_standing:
        return "deployed"
    if result.is_plan:
        return "plan"
    if not result.changes:
        return "unchanged"
    return "proposed" if result.pull_request is not None else "committed"


def _field_line(change: FieldChange) -> str:
    before, after = (repr(value)[:100] for value in (change.before, change.after))
    match change.action:
        case "add":
            return f"{change.path}: {after}"
        case "delete":
            return f"{change.path}: {before} is gone"
    return f"{change.path}: {before} → {after}"


def _short_image(image: ImageRef | None) -> str:
    return str(image).partition("@")[0] if image else ""


def _review_rows(review: PullRequest | None, commit: str | None) -> tuple[cards.Row, ...]:
    if review is not None:
        kind = "pull request" if review.number else "branch"
        return (cards.Row(kind, f"{review.name} {review.title}", link=review.url),)
    return (cards.Row("commit", commit[:12] if commit else None),)
