"""Send code and manifest from a notebook to the source repository, for CI to build and deploy."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path

from gitops_ml.capture.packaged_class import Package, package_text
from gitops_ml.commands.lock import lock
from gitops_ml.delivery.change import ChangeOptions, DeliveryResult, proposal_by
from gitops_ml.delivery.push import CommitPlan, Delivered, deliver, propose
from gitops_ml.documents.findings import few
from gitops_ml.documents.yaml_edit import CannotEdit, with_item
from gitops_ml.documents.yaml_reader import Document, read_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.errors import InvalidDocument, Problem, UsageError
from gitops_ml.forge.pull_request import Proposal
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops.commit_message import head_branch
from gitops_ml.gitops.release_yaml import origin_of
from gitops_ml.image.content_hash import InputFile
from gitops_ml.image.context import read_context
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.runtime.runtime_package import APP
from gitops_ml.system.cache import cache_place
from gitops_ml.system.project_files import open_file
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.source import read_author
from gitops_ml.workspace.workspace import Workspace, checked

_MODELINE = "# Every field, with its meaning and default: gitops-ml schema api\n"


def code_files(workspace: Workspace) -> dict[str, Change]:
    """The code of the workspace's one API, as it enters the image; none without a predictor.

    By path from the API's folder, as additions.
    """
    (planned,) = workspace.releases
    if planned.spec.predictor is None:
        return {}
    directory = workspace.directory_of(planned.manifest)
    context = read_context(
        directory, predictor=planned.spec.predictor, cache=cache_place(os.environ)
    )
    prefix = f"{APP}/"
    files = {f.path.removeprefix(prefix): f for f in context.inputs if f.path.startswith(prefix)}
    return {path: _addition(path, file, directory) for path, file in files.items()}


def _addition(path: str, file: InputFile, directory: Path) -> Change:
    if file.is_link:
        return Change(path, None, file.fingerprint.encode(), "120000")
    mode = "100755" if file.is_executable else "100644"
    with open_file(directory / path, inside=(directory,)) as opened:
        return Change(path, None, opened.read(), mode)


def propose_source(
    workspace: Workspace, package: Package | None, *, clients: Clients, options: ChangeOptions
) -> DeliveryResult:
    """Commit the files of the one API to the source repository, and open a pull request with them.

    A lock is made where there is none, so that CI builds with the same packages. A manifest with the
    same fields stays as it is, with its comments, and so do the other APIs in it. Other files in the
    folder stay; where they might be of an earlier ``package``, there is a warning. Doing it again
    finds the open pull request.

    Raises:
        InvalidDocument: the API is wrong.
        GitopsMlError: the requirements cannot be resolved.
        UsageError: the project file has no section ``source``.
    """
    checked(workspace)
    source, repository = workspace.project.source, clients.source_repository
    if source is None or repository is None:
        raise UsageError(
            "the project file has `pull_requests.content: source`, but does not name the source "
            "repository: set source.repository"
        )
    if not options.dry_run and clients.registry is not None:
        lock(workspace, clients=clients)
    delivered = _deliver(workspace, package, repository, source.branch, clients, options)
    warnings = (*workspace.problems.warnings, *delivered.warnings, *delivered.plan.warnings)
    return DeliveryResult(
        changes=delivered.plan.changes,
        commit=delivered.commit,
        pull_request=delivered.pull_request,
        dry_run=options.dry_run,
        warnings=tuple(map(str, warnings)),
    )


def _deliver(
    workspace: Workspace,
    package: Package | None,
    repository: GitRepository,
    base: str,
    clients: Clients,
    options: ChangeOptions,
) -> Delivered[CommitPlan]:
    code = code_files(workspace)

    def make_plan(snapshot: GitSnapshot) -> CommitPlan:
        return _plan(workspace, code, snapshot, message=options.message, is_packaged=bool(package))

    if options.dry_run:
        snapshot = repository.fetch()
        plan = make_plan(snapshot)
        snapshot.refuse_taken(plan.changes)
        return Delivered(plan=plan, base=snapshot.commit)
    author = read_author(workspace.root, workspace.project.gitops)
    if options.pull_request is False:
        return deliver(repository, make_plan, author=author)
    head = head_branch(f"source/{workspace.manifests[0].name}")

    def make_proposal(plan: CommitPlan) -> Proposal:
        return proposal_by(
            workspace.project.pull_requests,
            head=head,
            base=base,
            title=plan.message.partition("\n")[0],
            body=_body(workspace, package, plan.changes, head=head, why=options.why),
        )

    forge = clients.source_forge
    return propose(repository, forge, make_plan, make_proposal, head=head, author=author)


def _plan(
    workspace: Workspace,
    code: Mapping[str, Change],
    snapshot: GitSnapshot,
    *,
    message: str | None,
    is_packaged: bool,
) -> CommitPlan:
    (manifest,) = workspace.manifests
    file = workspace.source_path(manifest)
    folder = posixpath.dirname(file)
    wanted = {posixpath.join(folder, path): change for path, change in code.items()}
    before = snapshot.read([*wanted, file])
    wanted[file] = Change(file, None, _manifest(manifest, file, before.get(file)))
    changes = tuple(
        replace(change, path=path, before=before.get(path))
        for path, change in sorted(wanted.items())
        if before.get(path) != change.after
    )
    left = snapshot.blob_ids(f"{folder}/").keys() - wanted.keys() if is_packaged else frozenset()
    subject = f"{'Change' if file in before else 'Add'} {manifest.name}"
    return CommitPlan(changes=changes, message=f"{message or subject}\n", warnings=_left(left))


def _left(others: Set[str]) -> tuple[str, ...]:
    """About files in the folder of a packaged class that are not of this package."""
    if not others:
        return ()
    return (
        f"{few(sorted(others), 5)}: not of this package; remove what is left of an earlier one",
    )


def _manifest(manifest: Manifest, file: str, before: bytes | None) -> bytes:
    """The manifest's file with this API; others in it stay."""
    spec = dict(manifest.submitted)
    if before is None:
        return (_MODELINE + write_yaml([spec])).encode()
    document = _apis(before, file=file)
    apis = document.data or []
    same = [at for at, each in enumerate(apis) if each.get("name") == manifest.name]
    if same and apis[same[0]] == spec:
        return before
    try:
        return with_item(before, document, same[0] if same else None, spec)
    except CannotEdit as error:
        raise UsageError(
            f"{file} is written in a way that does not allow to change {manifest.name}: give it a "
            "folder of its own (project_dir=), or change it by hand"
        ) from error


def _apis(content: bytes, *, file: str) -> Document:
    """The current manifest; one that cannot be read is not replaced."""
    document = read_yaml(content, file=file)
    if document.problems:
        raise InvalidDocument(document.problems)
    found = [] if document.data is None else document.data
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        problem = Problem(file, 1, 1, "", "is not a list of APIs, and is not replaced", rule="yaml")
        raise InvalidDocument([problem])
    return document


def _body(
    workspace: Workspace,
    package: Package | None,
    changes: tuple[Change, ...],
    *,
    head: str,
    why: str,
) -> str:
    (manifest,) = workspace.manifests
    return package_text(
        "source_pull_request.md.j2",
        package,
        why=why,
        api=manifest.name,
        environment=", ".join(workspace.environments),
        changes=[{"action": change.action, "path": change.path} for change in changes],
        manifest=write_yaml([dict(manifest.submitted)]),
        head=head,
        folder=posixpath.dirname(workspace.source_path(manifest)) or ".",
        warnings=[str(problem) for problem in workspace.problems.warnings],
        origin=origin_of({"origin": workspace.origin}),
    )
