"""Deliver changes to the GitOps repository: options, the way to a commit or pull request, results."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from gitops_ml.delivery.hand_edits import undone_edits
from gitops_ml.delivery.preview_lists import with_preview_lists
from gitops_ml.delivery.push import (
    NOTHING_TO_PROPOSE_TO,
    CommitPlan,
    Delivered,
    MakePlan,
    Plan,
    deliver,
    propose,
)
from gitops_ml.delivery.releases import repository_of
from gitops_ml.delivery.rules import RuleCheck, rule_warnings
from gitops_ml.errors import UsageError
from gitops_ml.forge.pull_request import Proposal, PullRequest, review_place
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import NO_RESTART, pods_by_directory
from gitops_ml.gitops.commit_message import action_message, head_branch, of_another, summary_of
from gitops_ml.gitops.differences import FieldChange, field_changes
from gitops_ml.gitops.pull_request_body import pull_request_body, title_of
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.image.planner import PlannedImage
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import Project, PullRequestSettings
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.source import read_author
from gitops_ml.workspace.workspace import Workspace

WAIT_SECONDS = 1800.0
"""An image of gigabytes, a new node and a model that loads take a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """How a verb's changes get to the branch."""

    message: str | None = None
    """The commit's subject."""
    dry_run: bool = False
    """Whether to stop before anything is written to the repository."""
    pull_request: bool | None = None
    """Whether to open a pull request; ``None`` decides by the environments of the project file."""
    why: str = ""
    """Paragraphs for the reviewer, in Markdown, before those of the plan."""
    wait: bool = False
    """Whether the caller waits for the outcome: a cluster that cannot be read is then an error first."""
    timeout: float = WAIT_SECONDS
    """Seconds that the caller waits."""

    @property
    def waits(self) -> bool:
        return self.wait and not self.dry_run


@dataclass(frozen=True, slots=True)
class ChangeContext:
    """What a verb works with that changes the GitOps repository."""

    workspace: Workspace
    clients: Clients
    options: ChangeOptions

    @property
    def environment(self) -> str:
        """The environment of a verb that changes only one, which the workspace was opened with."""
        (environment,) = self.workspace.environments
        return environment

    @property
    def project(self) -> Project:
        return self.workspace.project


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """What every verb that changes the repository returns."""

    changes: tuple[Change, ...]
    commit: str | None
    """`None` where nothing had to change, or nothing was to be pushed."""
    pull_request: PullRequest | None
    """Where the commit waits for its review."""
    dry_run: bool
    warnings: tuple[str, ...]
    pods: Mapping[str, str] = field(default_factory=dict)
    """What happens to the pods of each release that changes, by its directory."""

    def summary(self) -> str:
        if not self.changes:
            return "nothing to change"
        if self.dry_run:
            return f"would commit: {summary_of(self.changes)}"
        if self.pull_request:
            return f"{review_place(self.pull_request)}: {summary_of(self.changes)}"
        return f"committed {(self.commit or '')[:12]}: {summary_of(self.changes)}"


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
    pods: str = NO_RESTART
    """What happens to its pods."""
    fields: tuple[FieldChange, ...] = ()
    """What changes in its values."""
    differs: tuple[FieldChange, ...] = ()
    """How a promoted release differs from its source, apart from the image."""

    @classmethod
    def of(cls, release: ReleaseRecord, *, after: str | None) -> ReleaseChange:
        """The change of a current release that keeps its image and its values."""
        return cls(
            api=release.api,
            environment=release.environment,
            before=release.deployment_id,
            after=after,
            image=release.image,
        )

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan(CommitPlan):
    """What a verb wants to change in one snapshot."""

    releases: tuple[ReleaseChange, ...]
    unchanged: tuple[ReleaseChange, ...] = ()
    """Chosen ones that are as they should be already, where ``releases`` does not have them."""
    subject: str
    message: str = ""
    """`change` makes it of the subject and the releases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult(DeliveryResult):
    """What a verb changed."""

    action: str
    releases: tuple[ReleaseChange, ...]
    chosen: tuple[ReleaseChange, ...] = ()
    """All that were chosen, those that did not have to change among them."""


def change(
    context: ChangeContext, make: MakePlan[ChangePlan], *, action: str, environment: str, topic: str
) -> ChangeResult:
    """Deliver what is planned for releases of one environment; where the branch moved, plan again."""

    def with_message(snapshot: GitSnapshot) -> ChangePlan:
        plan = make(snapshot)
        return replace(plan, message=_message(action, plan, context.options))

    topic = f"{action}/{environment}/{topic}"
    delivered = deliver_changes(context, with_message, topic=topic, environments=(environment,))
    plan = delivered.plan
    pods = pods_by_directory(plan.changes, kept=context.project.protected)
    releases = tuple(
        replace(each, pods=pods.get(each.directory, NO_RESTART)) for each in plan.releases
    )
    return ChangeResult(
        action=action,
        releases=releases if plan.changes else (),
        pods=pods,
        chosen=(*plan.releases, *plan.unchanged),
        changes=plan.changes,
        commit=delivered.commit,
        pull_request=delivered.pull_request,
        dry_run=context.options.dry_run,
        warnings=(*plan.warnings, *delivered.warnings),
    )


def _message(action: str, plan: ChangePlan, options: ChangeOptions) -> str:
    directories = {each.path.rpartition("/")[0] for each in plan.changes}
    touched = [item for item in plan.releases if item.directory in directories]
    lines = [
        f"{item.api} in {item.environment}: {item.after}"
        if item.after
        else f"{item.directory} removed"
        for item in touched
    ]
    ids = [item.after for item in touched if item.after]
    return action_message(action, options.message or plan.subject, lines=lines, deployment_ids=ids)


def deliver_changes(
    context: ChangeContext,
    make_plan: MakePlan[Plan],
    *,
    topic: str,
    environments: Collection[str],
    images: Mapping[str, PlannedImage] | None = None,
) -> Delivered[Plan]:
    """Commit what is planned, and push it or open a pull request with it.

    Every verb that changes the GitOps repository ends here. Doing it again changes nothing more.

    ``topic`` names the branch of a pull request, such as ``deploy/staging/iris``: the same topic is the
    same pull request. ``environments`` are those whose releases change: their `delivery` decides
    where the options do not. ``images`` are those that the verb builds, by the directories of their releases.

    Raises:
        UsageError: the project file names no GitOps repository, or no forge can be found for it; the
            caller waits, and there is no kubeconfig; or a submodule, a link or a file is where a change
            is to be written.
        RepositoryMoved: the repository holds what gitops-ml did not write, or moved at each attempt.
        RulesBroken: a release breaks a rule of severity ``error``.
    """
    workspace, options = context.workspace, context.options
    repository = repository_of(workspace, context.clients)
    if options.waits:
        refuse_unreadable(workspace, environments, context.clients)
    proposes, warnings = _review(workspace, options, environments)
    pushes = not (proposes or options.dry_run)
    rules = RuleCheck(workspace, context.clients, topic.partition("/")[0], images or {})
    head = head_branch(topic)
    if proposes:
        make_plan = with_preview_lists(make_plan, context.project, head=head)
    checked = _checked(context, make_plan, rules, pushes=pushes)
    if options.dry_run:
        tried = _tried(repository.fetch(), checked, proposes=proposes)
        return _with_others(context, tried, head=head) if proposes else tried
    author = read_author(workspace.root, workspace.project.gitops)
    if not proposes:
        return deliver(repository, checked, author=author)
    delivered = propose(
        repository,
        context.clients.forge,
        checked,
        lambda plan: _proposal(workspace, plan, why=options.why, head=head),
        head=head,
        author=author,
    )
    return replace(delivered, warnings=(*warnings, *delivered.warnings))


def _checked(
    context: ChangeContext, make_plan: MakePlan[Plan], rules: RuleCheck, *, pushes: bool
) -> MakePlan[Plan]:
    """The plan with warnings of rules, and with the edits by hand that it takes back."""
    repository = repository_of(context.workspace, context.clients)
    warned: set[str] = set()

    def plan_of(snapshot: GitSnapshot) -> Plan:
        plan = make_plan(snapshot)
        broken = rule_warnings(rules.problems(plan.changes, snapshot))
        plan = replace(plan, warnings=(*plan.warnings, *broken))
        edits = undone_edits(repository, snapshot, plan.changes)
        if not pushes:
            return replace(plan, warnings=(*plan.warnings, *edits))
        # Before the push, and once although the branch moved and the plan is made again.
        for text in edits:
            if text not in warned:
                context.clients.warn(text)
        warned.update(edits)
        return plan

    return plan_of


def refuse_unreadable(
    workspace: Workspace, environments: Collection[str], clients: Clients
) -> None:
    """Refuse to begin what is waited for where Argo CD cannot be read: its outcome would stay unknown.

    Raises:
        UsageError: there is no kubeconfig, or no context for the cluster of Argo CD.
        ServerFailed: the cluster does not answer, or Argo CD is not installed there.
        Refused: the credentials may not read Applications.
    """
    gitops = workspace.project.gitops
    assert gitops is not None, "`repository_of` refuses a project without"
    for environment in environments:
        clients.argo_cd.applications(gitops.argocd_namespace, environment=environment)


def _tried(base: GitSnapshot, make_plan: MakePlan[Plan], *, proposes: bool) -> Delivered[Plan]:
    plan = make_plan(base)
    base.refuse_taken(plan.changes)
    is_refused = proposes and base.commit is None
    warnings = (NOTHING_TO_PROPOSE_TO,) if is_refused else ()
    return Delivered(plan=plan, base=base.commit, warnings=warnings)


def _with_others(context: ChangeContext, tried: Delivered[Plan], *, head: str) -> Delivered[Plan]:
    """The plan with a warning about what another person proposes for the same releases now."""
    if not tried.plan.changes or tried.base is None:
        return tried
    repository = repository_of(context.workspace, context.clients)
    branch = repository.read_branch(head, base=repository.at(tried.base))
    if branch is None:
        return tried
    try:
        author = read_author(context.workspace.root, context.project.gitops)
    except UsageError:  # a plan needs no author
        author = ("", "")
    found = of_another(branch, tried.plan.changes, author=author)
    return replace(tried, warnings=(*tried.warnings, *([found] if found else ())))


def _review(
    workspace: Workspace, options: ChangeOptions, environments: Collection[str]
) -> tuple[bool, tuple[str, ...]]:
    """Whether to open a pull request, and a warning for environments that would not need one."""
    if options.pull_request is not None:
        return options.pull_request, ()
    known = workspace.project.environments
    named = [name for name in environments if name in known]
    pushed = [name for name in named if known[name].delivery == "push"]
    if len(pushed) == len(named):
        return False, ()
    if not pushed:
        return True, ()
    return True, (
        f"{', '.join(pushed)}: what changes there waits in the pull request with the rest, though the "
        "project file has `delivery: push`; deploy it alone with --environment",
    )


def _proposal(workspace: Workspace, plan: CommitPlan, *, why: str, head: str) -> Proposal:
    gitops = workspace.project.gitops
    assert gitops is not None, "`repository_of` refuses a project without"
    body = pull_request_body(
        plan.changes,
        why="\n\n".join(filter(None, (why, plan.why))),
        warnings=plan.warnings,
        head=head,
        kept=workspace.project.protected,
    )
    settings = workspace.project.pull_requests
    return proposal_by(
        settings, head=head, base=gitops.branch, title=title_of(plan.message), body=body
    )


def proposal_by(
    settings: PullRequestSettings, *, head: str, base: str, title: str, body: str
) -> Proposal:
    """What a forge is asked to open, by the project's settings for pull requests."""
    return Proposal(
        head=head,
        base=base,
        title=title,
        body=body,
        reviewers=settings.reviewers,
        teams=settings.teams,
        labels=settings.labels,
        is_draft=settings.draft,
        auto_merge=settings.auto_merge,
        merge_method=settings.merge_method,
    )


def changed_values(
    before: Mapping[str, object], after: Mapping[str, object]
) -> tuple[FieldChange, ...]:
    """What changes in the values of a release, without the deployment id; nothing if it is new."""
    return field_changes(values_without(before), values_without(after)) if before else ()


def values_without(values: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """The values without the deployment id and without ``names`` of the section `api`."""
    api = values.get("api")
    if not isinstance(api, Mapping):
        return values
    return {**values, "api": {k: v for k, v in api.items() if k not in ("deploymentId", *names)}}
