"""Images, deliveries and history as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.facts.shapes import Facts, Result, picked, rows, shaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gitops_ml.commands.bootstrap import Bootstrapped
    from gitops_ml.commands.build import Builds
    from gitops_ml.commands.deploy import Deployment
    from gitops_ml.commands.diff import Differences
    from gitops_ml.commands.history import History
    from gitops_ml.commands.inspect import Inspection, Preview, Previews
    from gitops_ml.commands.lock import Locked
    from gitops_ml.commands.render import Rendering
    from gitops_ml.commands.trace_request import FoundRequest
    from gitops_ml.delivery.change import ChangeResult
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.commits import Change
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.gitops.release_history import Entry, FoundDeployment
    from gitops_ml.image.base_images import BaseMove
    from gitops_ml.image.project_export import Exported
    from gitops_ml.release.model_artifacts import PulledModel, PushedModel

_FIELD = "path action before after"


def release_facts(release: Release) -> Facts:
    return picked(
        release,
        "api=name environment team namespace deployment_id image content_hash chart directory",
        chart=f"{release.chart.name}-{release.chart.version}",
    )


def _with_pods(release: Release, pods: Mapping[str, str]) -> Facts:
    return {**release_facts(release), "pods": pods.get(release.directory)}


def builds_facts(builds: Builds) -> Result:
    names = "apis image content_hash digest state builder=choice.builder reason=choice.reason"
    return shaped("build", builds, images=rows(builds.images, names))


def inspection_facts(found: Inspection) -> Result:
    contents = found.found.contents
    return shaped(
        "inspect",
        found,
        kind="model" if contents.is_model else "image",
        platforms=list(found.found.platforms) or [contents.platform],
        layers=rows(
            contents.layers, "role size=descriptor.size digest=descriptor.digest created_by"
        ),
        packages=rows(found.packages, "name version licence?"),
        attached=rows(found.attached, "type=artifact_type digest"),
        signatures=rows(found.signatures, "key verified=is_verified"),
    )


def previews_facts(previews: Previews) -> Result:
    return shaped("inspect --changes", previews, images=list(map(_preview, previews.images)))


def _preview(preview: Preview) -> Facts:
    size = blobs = None
    if preview.blobs is not None:
        size = sum(blob.descriptor.size for blob in preview.blobs if not blob.is_there)
        blobs = rows(preview.blobs, "role size=descriptor.size digest=descriptor.digest is_there")
    names = "apis image builder=choice.builder reason=choice.reason bytes blobs"
    return picked(preview, names, bytes=size, blobs=blobs)


def locks_facts(locks: Iterable[Locked]) -> Result:
    return shaped("lock", locks=list(map(_lock, locks)))


def _lock(locked: Locked) -> Facts:
    lock = locked.lock
    return picked(
        locked,
        "apis path state python platforms packages changes",
        path=str(locked.path),
        python=lock.python if lock else None,
        platforms=lock.platforms if lock else [],
        packages=rows(lock.packages if lock else (), "name version sha256 machine? path?"),
    )


def bases_facts(moves: Iterable[BaseMove]) -> Result:
    return shaped("base update", images=rows(moves, "file line? path before after state"))


def pushed_model_facts(pushed: PushedModel) -> Result:
    return shaped("model push", pushed)


def pulled_model_facts(pulled: PulledModel, directory: Path) -> Result:
    return shaped("model pull", pulled, directory=str(directory))


def exported_facts(exported: Exported, directory: Path) -> Result:
    return shaped("export", exported, directory=str(directory))


def bootstrap_facts(done: Bootstrapped) -> Result:
    return shaped(
        "bootstrap",
        done,
        pull_request=pull_request_facts(done.pull_request),
        changes=change_facts(done.changes),
        kept=[{"path": path, "difference": difference} for path, difference in done.kept],
        steps=rows(done.steps, "title commands"),
    )


def rendering_facts(rendering: Rendering) -> Result:
    return shaped(
        "render",
        rendering,
        releases=[release_facts(item) for item in rendering.releases],
        files={file.path: file.content.decode() for file in rendering.files},
        objects={release.directory: list(objects) for release, objects in rendering.objects},
    )


def differences_facts(differences: Differences) -> Result:
    return shaped(
        "diff",
        differences,
        releases=[_with_pods(item, differences.pods) for item in differences.changed],
        changes=[
            picked(each, _FIELD, before=_text(each.before), after=_text(each.after))
            for each in differences.changes
        ],
        objects=[
            {"release": directory}
            | picked(change, "kind name action fields", fields=rows(change.fields, _FIELD))
            for directory, changes in differences.objects
            for change in changes
        ],
    )


def deployment_facts(deployment: Deployment) -> Result:
    return shaped(
        "deploy",
        deployment,
        pull_request=pull_request_facts(deployment.pull_request),
        releases=[_with_pods(item, deployment.pods) for item in deployment.releases],
        changes=change_facts(deployment.changes),
        images=rows(deployment.images, "image builder=choice.builder reason=choice.reason"),
    )


def change_facts(changes: Iterable[Change]) -> list[Facts]:
    return rows(changes, "path action")


def pull_request_facts(pull_request: PullRequest | None) -> Facts | None:
    names = "number? url? title state draft=is_draft head base commit merge_commit"
    return picked(pull_request, names) if pull_request else None


def changed_facts(changed: ChangeResult) -> Result:
    release = "api environment before deployment_id=after image pods fields differs"
    return shaped(
        changed.action,
        changed,
        pull_request=pull_request_facts(changed.pull_request),
        releases=[
            picked(
                each,
                release,
                fields=rows(each.fields, _FIELD),
                differs=rows(each.differs, _FIELD),
            )
            for each in changed.releases
        ],
        changes=change_facts(changed.changes),
    )


def history_facts(found: History, api: str) -> Result:
    return shaped("history", found, api=api, deployments=list(map(entry_facts, found.entries)))


def entry_facts(entry: Entry) -> Facts:
    return picked(
        entry,
        "api environment deployment_id action when author commit pull_request image chart "
        "is_current changes",
        changes=rows(entry.changes, _FIELD),
    )


def trace_facts(found: FoundDeployment, request: FoundRequest | None = None) -> Result:
    return shaped(
        "trace",
        found,
        chart=f"{found.release.chart}-{found.release.chart_version}",
        deployments=list(map(entry_facts, found.entries)),
        request=_request(request) if request else None,
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")


def _request(found: FoundRequest) -> Facts:
    return picked(found, "id=request_id pod lines", lines=rows(found.lines, "at text"))
