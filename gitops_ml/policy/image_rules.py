"""Rules about what exactly runs: images by digest, from committed files."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.policy.pod_rules import place, pods_of
from gitops_ml.policy.rule import Breach, Rule, Side, Subject, of_after

_DIGEST = "@sha256:"


@of_after
def _by_digest(subject: Subject, side: Side) -> Iterator[Breach]:
    if not subject.environment.protected:
        return
    found = {
        (str(each.get("name", "")), str(each["image"]))
        for pod in pods_of(side.objects)
        for each in pod.containers
        if _DIGEST not in str(each.get("image", _DIGEST))
    }
    own = str(side.image)
    for name, image in sorted(found):
        if side.image.digest is not None or image != own:
            yield Breach(place(side, name, "image"), f"container {name} names {image} by tag")


@of_after
def _by_tag(subject: Subject, side: Side) -> Iterator[Breach]:
    is_deployed = subject.verb != "check" and subject.environment.protected
    if is_deployed and side.image.digest is None:
        at = ("container", "image") if side.spec.container else ("predictor",)
        yield Breach(at, f"{side.image} is deployed by tag, and a tag can move")


@of_after
def _bases(subject: Subject, side: Side) -> Iterator[Breach]:
    for field in ("image", "tensorflow_serving_image"):
        image = getattr(side.spec.predictor, field, None)
        if image is not None and _DIGEST not in image:
            yield Breach(("predictor", field), f"{image} is a tag, and a tag can move")


@of_after
def _dirty(subject: Subject, side: Side) -> Iterator[Breach]:
    if subject.environment.protected and side.origin.get("dirty"):
        message = (
            "it was built from files that no commit holds: it can be neither reviewed nor rebuilt"
        )
        yield Breach((), message)


IMAGE_RULES = (
    Rule(
        id="image-digest",
        title="Each container in a protected environment names its image by digest",
        severity="note",
        reason="A tag can move: pods that start tomorrow may run another image than those that were reviewed.",
        remedy="write <image>@sha256:<digest>",
        check=_by_digest,
    ),
    Rule(
        id="by-tag",
        title="A release in a protected environment is not deployed by tag",
        severity="warning",
        reason="`--by-tag` names an image that was not looked up: it may be missing, or be built with other content.",
        remedy="build the image first, and deploy without --by-tag",
        check=_by_tag,
    ),
    Rule(
        id="pinned-base",
        title="The base image of a predictor is named by digest",
        severity="warning",
        reason="Another image under the same tag changes what is built, without a change that could be reviewed.",
        remedy="write <image>@sha256:<digest>; `gitops-ml base` keeps the project's base up to date",
        check=_bases,
    ),
    Rule(
        id="dirty-release",
        title="A release in a protected environment comes from a commit",
        severity="warning",
        reason="What no commit holds cannot be reviewed, traced or rebuilt.",
        remedy="commit the files, and deploy again",
        check=_dirty,
    ),
)
