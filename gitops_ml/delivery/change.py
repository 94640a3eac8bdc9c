"""What the verbs that change current releases share: options, the way to a commit, and results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.delivery.land import Delivery, DeliveryResult, deliver_changes
from gitops_ml.delivery.push import CommitPlan
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import action_message

if TYPE_CHECKING:
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.differences import FieldChange
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """How a verb's changes get to the branch."""

    message: str | None = None
    """The commit's subject."""
    dry_run: bool = False
    pull_request: bool | None = None
    """Whether to open a pull request; ``None`` decides by the environments of the project file."""
    why: str = ""
    """Paragraphs for the reviewer, in Markdown."""

    def delivery(self, topic: str, environments: Iterable[str]) -> Delivery:
        return Delivery(
            topic=topic,
            environments=tuple(environments),
            pull_request=self.pull_request,
            dry_run=self.dry_run,
            why=self.why,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseChange:
    """What a verb did to one release."""

    api: str
    environment: str
    before: str | None
    """The earlier deployment id; `None` where there was no release."""
    after: str | None
    """The new one; `None` where the release was removed."""
    image: ImageRef | None
    fields: tuple[FieldChange, ...] = ()
    """What changes in its values."""
    differs: tuple[FieldChange, ...] = ()
    """How a promoted release differs from its source, apart from the image."""

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan(CommitPlan):
    """What a verb wants to change in one snapshot."""

    releases: tuple[ReleaseChange, ...]
    subject: str
    message: str = ""
    """`change` makes it of the subject and the releases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult(DeliveryResult):
    """What a verb changed."""

    action: str
    releases: tuple[ReleaseChange, ...]


def change(
    workspace: Workspace,
    make_plan: Callable[[GitSnapshot], ChangePlan],
    *,
    tools: Clients,
    options: ChangeOptions,
    action: str,
    topic: str,
    environments: Iterable[str],
) -> ChangeResult:
    """Deliver what is planned; where the branch moved, plan again."""

    def with_message(snapshot: GitSnapshot) -> ChangePlan:
        plan = make_plan(snapshot)
        return replace(plan, message=_message(action, plan, options))

    delivery = options.delivery(f"{action}/{topic}", environments)
    delivered = deliver_changes(workspace, with_message, tools=tools, delivery=delivery)
    plan = delivered.plan
    return ChangeResult(
        action=action,
        releases=plan.releases if plan.changes else (),
        changes=plan.changes,
        commit=delivered.commit,
        pull_request=delivered.pull_request,
        dry_run=options.dry_run,
        warnings=(*plan.warnings, *delivered.warnings),
    )


def _message(action: str, plan: ChangePlan, options: ChangeOptions) -> str:
    touched = [item for item in plan.releases if item.before != item.after]
    lines = [
        f"{item.api} in {item.environment}: {item.after}"
        if item.after
        else f"{item.directory} removed"
        for item in touched
    ]
    ids = [item.after for item in touched if item.after]
    return action_message(action, options.message or plan.subject, lines=lines, deployment_ids=ids)


def fields_without(values: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """The values without the deployment id and without ``names`` of the section `api`."""
    api = values.get("api")
    if not isinstance(api, Mapping):
        return values
    return {
        **values,
        "api": {k: v for k, v in api.items() if k not in ("deploymentId", *names)},
    }
