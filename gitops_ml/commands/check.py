"""Say what a change does to the releases of a project, and what a rule means: nothing of the change is executed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from gitops_ml.delivery.hand_edits import edits_that_end
from gitops_ml.delivery.releases import repository_of
from gitops_ml.delivery.rendering import PackedObjects
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.delivery.rules import rules_of
from gitops_ml.documents.findings import suggestion
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.git.checkout import Checkout, Untrusted, find_checkout
from gitops_ml.git.source_tree import SourceRepository, SourceTree, open_source
from gitops_ml.gitops.release_files import Release
from gitops_ml.helm.engines import HelmEngine
from gitops_ml.policy.built_in import ENFORCED, describe
from gitops_ml.project.checks import Checks
from gitops_ml.project.project import Project
from gitops_ml.review.current import current_objects_of, current_states
from gitops_ml.review.image_changes import with_advisories
from gitops_ml.review.make_review import Choice, Pair, make_review
from gitops_ml.review.read_states import ProjectOf, States, read_project_of, read_states
from gitops_ml.review.review import Review, State
from gitops_ml.review.rule_findings import (
    preview_warnings,
    usage_of_all,
    usage_of_planned,
    with_findings,
)
from gitops_ml.review.scope import moved_submodules, project_folder
from gitops_ml.review.sides import read_checkout_releases
from gitops_ml.system.files import link_of_a_checkout
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.manifest_files import (
    MANIFESTS,
    PROJECT_FILES,
    project_file_of,
    read_project_file,
)

_NO_PROJECT = (
    "has no project file here that can be read, so the rules are those of the change itself"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions(Choice):
    """What is compared, and which releases of it."""

    base: str | None = None
    """A branch, tag or commit of the source repository: the state that the change is merged into;
    `None` for the GitOps repository."""
    head: str | None = None
    """The commit with the change; `None` for the checkout, with its uncommitted files."""
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
    start = _start(folder, checkout)
    with open_source(checkout) as repository, tempfile.TemporaryDirectory(prefix="gitops-ml-") as d:
        place = Path(d).resolve()
        tip = repository.at_commit(repository.commit(options.base))
        before, after, base, head = _trees(repository, tip, options)
        tip, before, after = (
            repository.followed(each, (*PROJECT_FILES, *MANIFESTS)) for each in (tip, before, after)
        )
        start = project_folder((tip.files, before.files, after.files), start)
        states = read_states(repository, before, after, start=start, folder=place)
        review, pairs = make_review(states, base, head, options)
        moved = moved_submodules(before, after)
        review = replace(review, warnings=(*review.warnings, *moved))
        if review.errors:
            return review
        review = _with_advisories(review, options)
        trusted = read_project_of(repository, tip, start=start, folder=place)
        rules = trusted.project if trusted.file else states.after.project
        warnings = [*review.warnings, *preview_warnings(review.releases, rules)]
        if not trusted.file and states.after.workspace.has_project_file:
            warnings.append(f"{options.base} {_NO_PROJECT}")
        review = replace(review, warnings=tuple(warnings))
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


def project_of_base(folder: Path, base: str) -> tuple[Project, Path]:
    """The project that ``folder`` is in, as the commit ``base`` has it, and its folder."""
    checkout = _checkout(folder)
    with open_source(checkout) as repository, tempfile.TemporaryDirectory(prefix="gitops-ml-") as d:
        tip = repository.at_commit(repository.commit(base))
        tip = repository.followed(tip, PROJECT_FILES)
        start = project_folder((tip.files,), _start(folder, checkout))
        found = read_project_of(repository, tip, start=start, folder=Path(d).resolve())
        return found.project, checkout.root / found.root


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
        states = States(before=after, after=after, counts={})
        return make_review(states, base, head, options)[0]
    clients = clients_of(project, root)
    repository = repository_of(after.workspace, clients)
    snapshot = repository.fetch()
    states = current_states(after, RepositoryState.of(snapshot))

    def objects(releases: Iterable[Release], helm: HelmEngine) -> dict[str, PackedObjects]:
        found = current_objects_of(snapshot, [each.directory for each in releases], helm)
        return {at: PackedObjects.of(objects) for at, objects in found.items()}

    base = replace(base, commit=snapshot.commit)
    review, pairs = make_review(states, base, head, options, objects_before=objects)
    review = _with_advisories(review, options)
    warnings = (*review.warnings, *preview_warnings(review.releases, project))
    review = replace(review, warnings=warnings)
    trusted = ProjectOf(project, "", "gitops-ml.yaml" if after.workspace.has_project_file else None)
    usage = usage_of_planned(after.planned.values()) if project.checks.limits else {}
    review = with_findings(review, after, trusted=trusted, before=project, now=now, usage=usage)
    return _with_hand_edits(review, pairs, lambda: clients)


def _checkout(folder: Path) -> Checkout:
    if link := link_of_a_checkout(folder):
        # A change could lead the check to another project, with other rules.
        raise UsageError(
            f"{folder} is not checked, because {link} is a link: name the folder itself"
        )
    try:
        checkout = find_checkout(folder)
    except Untrusted as failure:
        raise UsageError(f"the Git repository of {folder} is not one that git made") from failure
    if checkout is None:
        raise UsageError(f"{folder} is in no Git repository, and the base is a commit of one")
    return checkout


def _start(folder: Path, checkout: Checkout) -> str:
    """The folder, relative to the root of the checkout; empty for the root."""
    start = folder.resolve().relative_to(checkout.root).as_posix()
    return "" if start == "." else start


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


def _with_advisories(review: Review, options: CheckOptions) -> Review:
    return with_advisories(review, options.advisories) if options.advisories else review


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


def explain(rule: str) -> str:
    """What a person needs to know of a rule: a built-in one, of a package, or of the project file here."""
    rules = {each.id: each for each in rules_of(_checks())}
    if rule in rules:
        return describe(rules[rule])
    if rule in ENFORCED:
        return f"{rule}: {ENFORCED[rule]}\n\nA release that breaks it is refused; no project file changes that.\n"
    raise UsageError(f"unknown rule {rule!r}{suggestion(rule, sorted({*rules, *ENFORCED}))}")


def _checks() -> Checks:
    try:
        project, _ = read_project_file(project_file_of(None)[1])
    except GitopsMlError:
        project = None
    return project.checks if project else Checks()
