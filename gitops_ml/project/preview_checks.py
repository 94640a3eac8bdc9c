"""What has to hold between the previews of an environment and the rest of the project file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_ml.documents.findings import Finding, Path, error, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RULE = "project"


def preview_findings(data: Mapping[str, Any], name: str) -> Iterator[Finding]:
    """What is wrong with the previews of the environment ``name``."""
    environment = data["environments"][name]
    previews = environment.get("previews")
    if previews is None:
        return
    at: Path = ("environments", name, "previews")
    gitops, clusters = data.get("gitops") or {}, data.get("clusters") or {}
    if environment.get("protected"):
        message = "a protected environment has no previews: preview the environment before it"
        yield error(at, message, rule=_RULE)
    if gitops.get("mode", "chart") == "manifests":
        message = (
            "previews lay values over those of a release, which gitops.mode `manifests` has rendered: "
            "use the mode `chart`"
        )
        yield error(at, message, rule=_RULE)
    cluster = environment.get("cluster") or next(iter(clusters), "")
    classes = (clusters.get(cluster) or {}).get("gpu_classes") or {}
    chosen = previews.get("gpu_class")
    if chosen is not None and chosen not in classes:
        message = (
            f"the cluster {cluster!r} has no GPU class {chosen!r}{suggestion(chosen, classes)}"
        )
        yield error((*at, "gpu_class"), message, rule=_RULE)
    starts = {
        (each.get("previews") or {}).get("namespace", "preview"): other
        for other, each in data["environments"].items()
        if each.get("previews") is not None and other != name
    }
    own = previews.get("namespace", "preview")
    if own in starts:
        message = f"{own!r} is the start of the namespaces of previews of {starts[own]!r}"
        yield error((*at, "namespace"), message, rule=_RULE)
