"""Images, deliveries and history as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.facts.plain import Facts, picked, rows
from gitops_ml.facts.shapes import Result, shaped

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
    return shaped("build", {"images": rows(builds.images, names), "warnings": builds.warnings})


def inspection_facts(found: Inspection) -> Result:
    contents = found.found.contents
    return shaped(
        "inspect",
        picked(
            found,
            "image=found.image kind deployment_id platform=found.contents.platform platforms "
            "size=found.contents.size content_hash=found.contents.content_hash "
            "lock=found.contents.lock entrypoint=found.contents.entrypoint user=found.contents.user "
            "labels=found.contents.labels layers packages attached signatures",
            kind="model" if contents.is_model else "image",
            platforms=list(found.found.platforms) or [contents.platform],
            layers=rows(
                contents.layers, "role size=descriptor.size digest=descriptor.digest created_by"
            ),
            packages=rows(found.packages, "name version licence?"),
            attached=rows(found.attached, "type=artifact_type digest"),
            signatures=rows(found.signatures, "key verified=is_verified"),
        ),
    )


def previews_facts(previews: Previews) -> Result:
    images = list(map(_preview, previews.images))
    return shaped("inspect --changes", {"images": images, "warnings": previews.warnings})


def _preview(preview: Preview) -> Facts:
    size = blobs = None
    if preview.blobs is not None:
        size = sum(blob.descriptor.size for blob in preview.blobs if not blob.is_there)
        blobs = rows(preview.blobs, "role size=descriptor.size digest=descriptor.digest is_there")
    names = "apis image builder=choice.builder reason=choice.reason bytes blobs"
    return picked(preview, names, bytes=size, blobs=blobs)


def locks_facts(locks: Iterable[Locked]) -> Result:
    return shaped("lock", {"locks": list(map(_lock, locks))})


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
    return shaped("base update", {"images": rows(moves, "file line? path before after state")})


def pushed_model_facts(pushed: PushedModel) -> Result:
    names = "location digest=image.digest files size bytes_sent moved_from"
    return shaped("model push", picked(pushed, names))


def pulled_model_facts(pulled: PulledModel, directory: Path) -> Result:
    names = "directory digest=image.digest files size"
    return shaped("model pull", picked(pulled, names, directory=str(directory)))


def exported_facts(exported: Exported, directory: Path) -> Result:
    facts = picked(exported, "directory files manifest", directory=str(directory))
    return shaped("export", facts)


def bootstrap_facts(done: Bootstrapped) -> Result:
    return shaped(
        "bootstrap",
        picked(
            done,
            "commit pull_request is_plan=dry_run changes kept steps advice warnings",
            pull_request=pull_request_facts(done.pull_request),
            changes=change_facts(done.changes),
            kept=[{"path": path, "difference": difference} for path, difference in done.kept],
            steps=rows(done.steps, "title commands"),
        ),
    )


def rendering_facts(rendering: Rendering) -> Result:
    return shaped(
        "render",
        {
            "releases": [release_facts(item) for item in rendering.releases],
            "files": {file.path: file.content.decode() for file in rendering.files},
            "objects": {release.directory: list(objects) for release, objects in rendering.objects},
            "warnings": rendering.warnings,
        },
    )


def differences_facts(differences: Differences) -> Result:
    return shaped(
        "diff",
        {
            "releases": [_with_pods(item, differences.pods) for item in differences.changed],
            "changes": [
                picked(each, _FIELD, before=_text(each.before), after=_text(each.after))
                for each in differences.changes
            ],
            "objects": [
                {"release": directory}
                | picked(change, "kind name action fields", fields=rows(change.fields, _FIELD))
                for directory, changes in differences.objects
                for change in changes
            ],
            "left": differences.left,
            "warnings": differences.warnings,
        },
    )


def deployment_facts(deployment: Deployment) -> Result:
    return shaped(
        "deploy",
        picked(
            deployment,
            "commit pull_request is_plan=dry_run releases changes removed images warnings",
            pull_request=pull_request_facts(deployment.pull_request),
            releases=[_with_pods(item, deployment.pods) for item in deployment.releases],
            changes=change_facts(deployment.changes),
            images=rows(deployment.images, "image builder=choice.builder reason=choice.reason"),
        ),
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
        picked(
            changed,
            "action commit is_plan=dry_run pull_request releases changes warnings",
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
        ),
    )


def history_facts(found: History, api: str) -> Result:
    return shaped(
        "history",
        {
            "api": api,
            "deployments": [entry_facts(entry) for entry in found.entries],
            "warnings": found.warnings,
        },
    )


def entry_facts(entry: Entry) -> Facts:
    return picked(
        entry,
        "api environment deployment_id action when author commit pull_request image chart "
        "is_current changes",
        changes=rows(entry.changes, _FIELD),
    )


def trace_facts(found: FoundDeployment, request: FoundRequest | None = None) -> Result:
    release = found.release
    return shaped(
        "trace",
        {
            "deployment_id": found.deployment_id,
            **picked(
                release,
                "api environment team namespace server project image digest=image.digest "
                "content_hash chart",
                chart=f"{release.chart}-{release.chart_version}",
            ),
            **picked(found, "commit when author pull_request is_current source=release.provenance"),
            "deployments": [entry_facts(entry) for entry in found.entries],
            **picked(release, "manifest_file manifest"),
            "request": _request(request) if request else None,
        },
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")


def _request(found: FoundRequest) -> Facts:
    return picked(found, "id=request_id pod lines", lines=rows(found.lines, "at text"))
