"""Code and manifest from a notebook sent to the source repository, for CI to build and deploy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.actions.locking import lock
from gitops_ml.adapters.context import APP, read_context
from gitops_ml.adapters.resources import template_text
from gitops_ml.adapters.source import read_author
from gitops_ml.core.changes import Change
from gitops_ml.core.package_text import package_text
from gitops_ml.core.proposal import head_branch
from gitops_ml.core.pull_request import Proposal
from gitops_ml.core.yaml_reader import read_yaml
from gitops_ml.core.yaml_writer import write_yaml
from gitops_ml.delivery import Delivered, deliver, propose
from gitops_ml.errors import InvalidDocument, UsageError
from gitops_ml.workspace import Workspace, checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.ports import Snapshot
    from gitops_ml.tools import Tools

_MODELINE = "# Every field, with its meaning and default: gitops-ml schema api\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFiles:
    """One API as files of the source repository."""

    api: str
    folder: str
    """``apis/iris``."""
    spec: Mapping[str, Any]
    class_name: str = ""
    path: str = ""
    source: str = ""
    """What a reviewer should read."""
    notes: tuple[str, ...] = ()


def code_files(workspace: Workspace) -> dict[str, bytes]:
    """The code of the workspace's one API, as it would enter the image; without a predictor, none.

    Raises:
        InvalidDocument: files that cannot enter an image.
    """
    (planned,) = workspace.releases
    if planned.spec.predictor is None:
        return {}
    directory = workspace.directory_of(planned.manifest)
    context = read_context(directory, predictor=planned.spec.predictor)
    paths = (file.path.partition("/") for file in context.inputs if not file.is_link)
    return {path: (directory / path).read_bytes() for root, _, path in paths if root == APP}


def propose_source(
    workspace: Workspace,
    files: SourceFiles,
    *,
    tools: Tools,
    pull_request: bool = True,
    dry_run: bool = False,
    message: str | None = None,
    why: str = "",
) -> Delivered:
    """Commit the API's files to the source repository, and open a pull request with them.

    A lock is made where there is none, so that CI builds with what it was resolved to here. A
    manifest that says the same already stays as it is, comments and all; files of others beside it
    are left alone. Doing it again finds the open pull request.

    Raises:
        InvalidDocument: the API is wrong.
        GitopsMlError: the requirements cannot be resolved.
        UsageError: the project file has no section ``source``.
        Refused, ServerFailed, RepositoryMoved: see `propose`.
    """
    checked(workspace)
    source = workspace.project.source
    if source is None or tools.source_repository is None:
        raise UsageError(
            "the project file says `pull_requests.content: source`, but not where the source is: "
            "set source.repository"
        )
    if not dry_run and tools.registry is not None:
        lock(workspace, tools=tools)
    code = code_files(workspace)
    repository = tools.source_repository()

    def make_changes(snapshot: Snapshot) -> tuple[tuple[Change, ...], str]:
        changes = _changes(files, code, snapshot)
        return changes, f"{message or _subject(files, changes)}\n"

    if dry_run:
        base = repository.fetch()
        changes, _ = make_changes(base)
        return Delivered(base.commit, None, changes, 1)
    author = read_author(workspace.root, workspace.project.gitops)
    if not pull_request:
        return deliver(repository, make_changes, author=author)
    head = head_branch(f"source/{files.api}")

    def make_proposal(changes: tuple[Change, ...], text: str) -> Proposal:
        settings = workspace.project.pull_requests
        return Proposal(
            head=head,
            base=source.branch,
            title=text.partition("\n")[0],
            body=_body(workspace, files, changes, head=head, why=why),
            reviewers=settings.reviewers,
            teams=settings.teams,
            labels=settings.labels,
            is_draft=settings.draft,
            auto_merge=settings.auto_merge,
            merge_method=settings.merge_method,
        )

    forge = tools.source_forge()
    return propose(repository, forge, make_changes, make_proposal, head=head, author=author)


def _changes(
    files: SourceFiles, code: Mapping[str, bytes], snapshot: Snapshot
) -> tuple[Change, ...]:
    manifest = f"{files.folder}/api.yaml"
    wanted = {f"{files.folder}/{path}": content for path, content in code.items()}
    before = snapshot.read([*wanted, manifest])
    wanted[manifest] = _manifest(files, before.get(manifest))
    return tuple(
        Change(path, before.get(path), content)
        for path, content in sorted(wanted.items())
        if before.get(path) != content
    )


def _manifest(files: SourceFiles, before: bytes | None) -> bytes:
    """The manifest with this API; others in the same file stay in it."""
    standing = _apis(before, file=f"{files.folder}/api.yaml") if before is not None else []
    same = [each for each in standing if each.get("name") == files.api]
    if before is not None and same == [dict(files.spec)]:
        return before
    apis = [dict(files.spec) if each in same else each for each in standing]
    return (_MODELINE + write_yaml(apis if same else [*standing, dict(files.spec)])).encode()


def _apis(content: bytes, *, file: str) -> list[dict[str, Any]]:
    """What the manifest that stands there says.

    Raises:
        InvalidDocument: it cannot be read; nobody's work is replaced unread.
    """
    document = read_yaml(content, file=file)
    if document.problems:
        raise InvalidDocument(document.problems)
    found = document.data if isinstance(document.data, list) else []
    return [each for each in found if isinstance(each, dict)]


def _subject(files: SourceFiles, changes: Iterable[Change]) -> str:
    is_new = any(
        change.path == f"{files.folder}/api.yaml" and change.before is None for change in changes
    )
    return f"{'Add' if is_new else 'Change'} {files.api}"


def _body(
    workspace: Workspace,
    files: SourceFiles,
    changes: tuple[Change, ...],
    *,
    head: str,
    why: str,
) -> str:
    return package_text(
        template_text("source_pull_request.md.j2"),
        why=why,
        path=files.path,
        class_name=files.class_name,
        source=files.source,
        notes=files.notes,
        api=files.api,
        environment=", ".join(workspace.environments),
        changes=[{"action": change.action, "path": change.path} for change in changes],
        manifest=write_yaml([dict(files.spec)]),
        head=head,
        folder=files.folder,
        warnings=[str(problem) for problem in workspace.problems.warnings],
        origin=sorted((workspace.origin or {}).items()),
    )
