"""Say what a change does to the releases of a project: nothing of the change is executed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.delivery.releases import repository_of
from gitops_ml.delivery.rendering import render_objects
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import GitopsMlError, InvalidDocument, UsageError
from gitops_ml.git.checkout import Untrusted, find_checkout
from gitops_ml.git.source_tree import open_source
from gitops_ml.helm.engines import find_helm
from gitops_ml.review.compare import Comparison, changed_pairs, total_cost
from gitops_ml.review.current import current_objects_of, current_states
from gitops_ml.review.hand_edits_of_change import edits_that_end
from gitops_ml.review.headline import count_of
from gitops_ml.review.image_changes import with_advisories
from gitops_ml.review.read_states import ProjectOf, States, read_project_of, read_states
from gitops_ml.review.review import Review, State
from gitops_ml.review.rollout import quota_warnings
from gitops_ml.review.rules import with_findings
from gitops_ml.review.sides import read_checkout_releases
from gitops_ml.review.usage import usage_of_all, usage_of_planned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gitops_ml.delivery.rendering import Objects
    from gitops_ml.git.checkout import Checkout
    from gitops_ml.git.source_tree import SourceRepository, SourceTree
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.project.project import Project
    from gitops_ml.review.compare import Pair
    from gitops_ml.review.review import ReleaseReview
    from gitops_ml.workspace.clients import Clients

    ObjectsBefore = Callable[[Iterable[Release], HelmEngine], dict[str, Objects]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What is compared."""

    base: str | None = None
    """A branch, tag or commit of the source repository: the state that the change is merged into;
    `None` for the GitOps repository."""
    head: str | None = None
    """The commit with the change; `None` for the checkout, with its uncommitted files."""
    environments: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    """Only these; all where it is empty."""
    advisories: Path | None = None
    """A folder of advisories in the OSV format."""


def check(
    folder: Path,
    options: CheckOptions,
    *,
    clients_of: Callable[[Project, Path], Clients] | None = None,
    now: datetime | None = None,
) -> Review:
    """Compare two states of the source repository that ``folder`` is in.

    ``clients_of`` makes the clients of a project in a folder; they only ever belong to the project
    before the change. Without it, no server is asked.

    Raises:
        UsageError: there is no such commit, or no source repository.
        InvalidDocument: the state before the change cannot be read.
    """
    now = now or datetime.now(timezone.utc)
    if options.base is None:
        return _check_current(folder, options, clients_of, now)
    checkout = _checkout(folder)
    start = folder.resolve().relative_to(checkout.root).as_posix()
    start = "" if start == "." else start
    with open_source(checkout) as repository, tempfile.TemporaryDirectory(prefix="gitops-ml-") as d:
        place = Path(d).resolve()
        tip = repository.at_commit(repository.commit(options.base))
        before, after, base, head = _trees(repository, tip, options)
        states = read_states(repository, before, after, start=start, folder=place)
        review, pairs = _review(states, base, head, options)
        if review.errors:
            return review
        trusted = read_project_of(repository, tip, start=start, folder=place)
        rules = trusted.project if trusted.file else states.after.project
        is_limited = bool(rules.checks.limits and review.releases)
        review = with_findings(
            review,
            states.after,
            trusted=trusted,
            before=states.before.project,
            now=now,
            usage=usage_of_all(repository, after, start=start, folder=place) if is_limited else {},
        )
        if clients_of is None:
            return review
        root = checkout.root / trusted.root
        return _with_hand_edits(review, pairs, lambda: clients_of(trusted.project, root))


def _check_current(
    folder: Path,
    options: CheckOptions,
    clients_of: Callable[[Project, Path], Clients] | None,
    now: datetime,
) -> Review:
    """Compare the checkout with the GitOps repository."""
    if clients_of is None or options.head is not None:
        raise UsageError(
            "without a base, the checkout is compared with the GitOps repository: name a base to "
            "compare commits, or to ask no server"
        )
    after = read_checkout_releases(folder, clients_of)
    base, head = State("the GitOps repository", None), State("the checkout", None)
    project, root = after.project, after.workspace.root
    if after.has_errors:
        return _review(States(before=after, after=after, counts={}), base, head, options)[0]
    clients = clients_of(project, root)
    repository = repository_of(after.workspace, clients)
    snapshot = repository.fetch()
    states = current_states(after, RepositoryState.of(snapshot))

    def objects(releases: Iterable[Release], helm: HelmEngine) -> dict[str, Objects]:
        return current_objects_of(snapshot, [each.directory for each in releases], helm)

    base = replace(base, commit=snapshot.commit)
    review, pairs = _review(states, base, head, options, objects_before=objects)
    trusted = ProjectOf(project, "", "gitops-ml.yaml" if after.workspace.has_project_file else None)
    usage = usage_of_planned(after.planned.values()) if project.checks.limits else {}
    review = with_findings(review, after, trusted=trusted, before=project, now=now, usage=usage)
    return _with_hand_edits(review, pairs, lambda: clients)


def _checkout(folder: Path) -> Checkout:
    try:
        checkout = find_checkout(folder)
    except Untrusted as failure:
        raise UsageError(f"the Git repository of {folder} is not one that git made") from failure
    if checkout is None:
        raise UsageError(f"{folder} is in no Git repository, and the base is a commit of one")
    return checkout


def _trees(
    repository: SourceRepository, tip: SourceTree, options: CheckOptions
) -> tuple[SourceTree, SourceTree, State, State]:
    if options.head is None:
        after = repository.at_checkout()
        head = State("the checkout", after.commit, bool(after.is_dirty))
    else:
        after = repository.at_commit(repository.commit(options.head))
        head = State(options.head, after.commit)
    # What others merged since the branch began is no part of the change.
    start = repository.merge_base(str(tip.commit), after.commit) if after.commit else None
    before = tip if start in (None, tip.commit) else repository.at_commit(str(start))
    return before, after, State(str(options.base), before.commit), head


def _review(
    states: States,
    base: State,
    head: State,
    options: CheckOptions,
    *,
    objects_before: ObjectsBefore | None = None,
) -> tuple[Review, tuple[Pair, ...]]:
    """The review without what only servers know, and the releases that change."""
    review = Review(
        project=states.after.project.name,
        base=base,
        head=head,
        releases=(),
        counts=states.counts,
        problems=states.new_problems(),
        warnings=tuple(_base_warnings(states)),
    )
    if review.errors:
        return review, ()
    found = changed_pairs(states.before, states.after)
    pairs = tuple(pair for pair in found.changed if _is_chosen(pair, options))
    recorded = tuple(pair.directory for pair in found.recorded if _is_chosen(pair, options))
    try:
        comparison, warnings = _compared(states, pairs, objects_before or _rendered_before)
    except InvalidDocument as failure:
        problems = tuple(sorted({*review.problems, *failure.problems}))
        return replace(review, problems=problems), ()
    releases = comparison.reviews(pairs)
    review = replace(
        review,
        releases=releases,
        recorded=recorded,
        cost=total_cost(releases),
        warnings=(
            *review.warnings,
            *warnings,
            *quota_warnings(releases),
            *states.after.lock_warnings(_rebuilt(releases)),
        ),
    )
    if options.advisories is not None:
        review = with_advisories(review, options.advisories)
    return review, pairs


def _rebuilt(releases: Iterable[ReleaseReview]) -> list[str]:
    return [each.directory for each in releases if each.image and each.image.rebuilt]


def _with_hand_edits(
    review: Review, pairs: Iterable[Pair], clients: Callable[[], Clients]
) -> Review:
    """The review with the edits by hand that the change would undo, where a server can be asked."""
    modified = [pair.after for pair in pairs if pair.before and pair.after]
    try:
        found = clients()
        if not modified or found.project.gitops is None:
            return review
        return replace(review, hand_edits=edits_that_end(found.repository, modified))
    except GitopsMlError as failure:
        text = f"the GitOps repository could not be read, so edits by hand are not known: {failure}"
        return replace(review, warnings=(*review.warnings, text))


def _is_chosen(pair: Pair, options: CheckOptions) -> bool:
    return (not options.environments or pair.environment in options.environments) and (
        not options.apis or pair.api in options.apis
    )


def _base_warnings(states: States) -> Iterator[str]:
    errors = [each for each in states.before.problems if each.severity == "error"]
    if errors:
        yield (
            f"before the change, the documents had {count_of(len(errors), 'error')}; what they "
            "describe counts as far as it could be read"
        )


def _compared(
    states: States, pairs: Iterable[Pair], objects_before: ObjectsBefore
) -> tuple[Comparison, tuple[str, ...]]:
    """The comparison with the Kubernetes objects of both sides, where Helm is at hand.

    Raises:
        InvalidDocument: the chart refuses a release after the change.
    """
    comparison = Comparison(before=states.before, after=states.after)
    pairs = tuple(pairs)
    try:
        helm = find_helm()
    except UsageError as failure:
        return comparison, (f"Kubernetes objects are not compared: {failure}",)
    after = render_objects([pair.after for pair in pairs if pair.after], helm=helm)
    before = objects_before((pair.before for pair in pairs if pair.before), helm)
    return replace(comparison, objects_before=before, objects_after=after), ()


def _rendered_before(releases: Iterable[Release], helm: HelmEngine) -> dict[str, Objects]:
    """The objects before the change; none of a release that the chart refused then."""
    releases = tuple(releases)
    try:
        return render_objects(releases, helm=helm)
    except InvalidDocument:
        found: dict[str, Objects] = {}
        for release in releases:
            try:
                found |= render_objects([release], helm=helm)
            except InvalidDocument:
                continue
        return found
