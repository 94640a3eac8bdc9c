"""A review in sentences, the same in every report for people: what happens to how many releases, and each part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitops_ml.documents.findings import count_of
from gitops_ml.gitops.changed_releases import KEPT, NO_RESTART
from gitops_ml.packages.advisories import Advisory
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.release.monthly_cost import CostRange, money_range
from gitops_ml.review.review import FileChange, ImageReview, PackageChange, ReleaseReview, Review
from gitops_ml.review.rollout import ONLY_IMAGE

_MOST_NAMED = 3
"""APIs, or places of a broken rule, that are named one by one."""


def headline(review: Review) -> str:
    """What the change does, in one sentence; the worst comes first."""
    if review.errors:
        count = len(review.errors)
        return f"The documents have {count_of(count, 'error')}, so nothing can be deployed."
    if not review.releases:
        return "This change leaves every release as it is."
    parts = [text for text in _effects(review.releases) if text]
    return f"This change {'; '.join(parts)}."


def _effects(releases: Sequence[ReleaseReview]) -> Iterator[str]:
    groups: dict[str, list[ReleaseReview]] = {}
    for release in releases:
        groups.setdefault(effect(release), []).append(release)
    for name, (verb, ending) in _SENTENCES.items():
        if name in groups:
            yield f"{verb} {_names(groups[name])}{ending}"


_SENTENCES = {
    "removed": ("removes", ""),
    "moved": ("moves", " to another place, with downtime"),
    "interrupted": ("restarts", " with downtime"),
    "restarted": ("restarts", " without downtime"),
    "kept": ("removes", " from Git, where Argo CD keeps what runs"),
    "unknown": ("adds", ", which may run already: it could not be read before the change"),
    "added": ("adds", ""),
    "changed": ("updates", " without a restart"),
}


def effect(release: ReleaseReview) -> str:
    """One of ``removed``, ``moved``, ``interrupted``, ``restarted``, ``kept``, ``unknown``, ``added``, ``changed``."""
    rollout = release.rollout
    if release.action == "delete":
        return "kept" if rollout.pods == KEPT else "removed"
    if release.action == "add":
        return "unknown" if release.may_run else "added"
    if rollout.pods == NO_RESTART:
        return "changed"
    if rollout.pods.startswith("moves"):
        return "moved"
    return "interrupted" if rollout.downtime else "restarted"


def urgency(release: ReleaseReview) -> tuple[object, ...]:
    """What a list of releases is sorted by: broken rules, downtime and restarts come first."""
    has_error = any(each.severity == "error" for each in release.findings)
    return not has_error, [*_SENTENCES].index(effect(release)), release.environment, release.api


def _names(releases: Sequence[ReleaseReview]) -> str:
    """``iris in production and staging``, or how many where there are many."""
    places: dict[str, list[str]] = {}
    for release in releases:
        places.setdefault(release.api, []).append(release.environment)
    if len(places) <= _MOST_NAMED:
        by_place: dict[tuple[str, ...], list[str]] = {}
        for api, environments in places.items():
            by_place.setdefault(tuple(environments), []).append(api)
        return joined(f"{joined(apis)} in {joined(places_)}" for places_, apis in by_place.items())
    where = dict.fromkeys(each for found in places.values() for each in found)
    return f"{count_of(len(places), 'API')} in {joined(where)}"


def joined(parts: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = tuple(parts)
    return f"{', '.join(first)} and {last}" if first else last


# -- the parts of a release ------------------------------------------------------------------------


def rollout_text(release: ReleaseReview) -> str:
    """``rolling, 1 at a time, no downtime``."""
    rollout = release.rollout
    if not rollout.restarts:
        return rollout.pods
    return f"{rollout.pods}, {'downtime' if rollout.downtime else 'no downtime'}"


def image_text(release: ReleaseReview) -> str:
    """``built again, about 0.2 MB to push``; empty for a release that goes."""
    image = release.image
    if release.after is None:
        return ""
    if image is None:
        return _ready_made(release)
    if not image.rebuilt:
        return "unchanged"
    built = "built" if release.action == "add" else "built again"
    return ", ".join(filter(None, [built, push_text(image)]))


def push_text(image: ImageReview) -> str:
    """``about 0.2 MB and the base image to push``; empty where nothing is known."""
    known = "" if image.bytes_to_push is None else f"about {size_text(image.bytes_to_push)}"
    parts = [*filter(None, [known]), *image.not_known]
    return f"{joined(parts)} to push" if parts else ""


def _ready_made(release: ReleaseReview) -> str:
    images = [
        side.values.get("image") if side else None for side in (release.before, release.after)
    ]
    is_other = release.action == "modify" and images[0] != images[1]
    return "another ready-made image" if is_other else "ready-made"


def size_text(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 100_000 else f"{number / 1e3:.1f} kB"


def gpus_text(release: ReleaseReview) -> str:
    """``8 of 10 t4``; empty without GPUs."""
    rollout = release.rollout
    if not rollout.gpus_at_peak:
        return ""
    of = "" if rollout.quota is None else f" of {rollout.quota}"
    return f"{rollout.gpus_at_peak}{of} {rollout.gpu_class or 'GPUs'}"


def cost_text(cost: tuple[CostRange | None, CostRange | None] | None) -> str:
    """``USD 24 to 240 → USD 48 to 480``; empty where no price is known."""
    if cost is None:
        return ""
    before, after = (money_range(*each.paid, each.currency) if each else "nothing" for each in cost)
    return before if before == after else f"{before} → {after}"


def unpriced_text(review: Review) -> str:
    """Which releases have no cost, once for all of them; empty where each has one."""
    without = [release for release in review.releases if release.cost is None]
    if not without:
        return ""
    specs = [side.spec for release in without if (side := release.after or release.before)]
    clusters = sorted({f"clusters.{spec.cluster}.prices" for spec in specs if spec})
    where = f": set {', '.join(clusters)} in the project file" if clusters else ""
    if len(without) == len(review.releases):
        return f"No prices, so the cost is not known{where}."
    return (
        f"The cost of {count_of(len(without), 'release')} is not known, by a missing price{where}."
    )


def package_text(change: PackageChange) -> str:
    before, after = change.before or "–", change.after or "removed"
    text = f"{change.name} {before} → {after}" if change.before else f"{change.name} {after} (new)"
    return "; ".join([text, *map(advisory_text, change.advisories)])


def advisory_text(advisory: Advisory) -> str:
    fixed = f", fixed in {advisory.fixed}" if advisory.fixed else ""
    return f"{advisory.id}: {advisory.summary or 'known vulnerability'}{fixed}"


def file_text(change: FileChange) -> str:
    sign = {"add": "+", "delete": "-", "modify": "~"}[change.action]
    size = f" ({size_text(change.size)})" if change.size and change.action != "delete" else ""
    return f"{sign} {change.path}{size}"


def next_steps(review: Review) -> Iterator[str]:
    """What to do before the merge, the most urgent first."""
    if review.errors:
        yield "correct the documents: each error above has its place"
        return
    if review.broken:
        yield "mend what breaks a rule of severity error, or except the API with a reason and a date"
    if review.hand_edits:
        yield "write the edits by hand that are to stay into the manifests"
    if any(each.rollout.downtime and each.action == "modify" for each in review.releases):
        yield "choose a time for the downtime, or give the release a second replica or a spare GPU"
    if any(change.advisories for each in review.releases for change in each.packages):
        yield "take versions without known vulnerabilities: `gitops-ml lock --upgrade`"
    removed = [each for each in review.releases if each.action == "delete"]
    if removed:
        yield f"remove the {count_of(len(removed), 'release')} after the merge: `gitops-ml deploy --prune`"
    if any(each.action != "delete" for each in review.releases):
        names = dict.fromkeys(
            each.environment for each in review.releases if each.action != "delete"
        )
        flags = " ".join(f"-e {name}" for name in names)
        yield f"after the merge, deploy: `gitops-ml deploy {flags}`"


def recorded_text(review: Review) -> str:
    """About releases whose record alone changes; empty without any."""
    if not review.recorded:
        return ""
    return (
        f"The manifest in release.yaml changes for {count_of(len(review.recorded), 'release')} of which "
        "nothing changes in the cluster."
    )


def why_text(release: ReleaseReview) -> str:
    image = release.image
    found = [
        each for each in release.rollout.why if not (image and image.rebuilt and each == ONLY_IMAGE)
    ]
    if image and image.rebuilt and image.why and release.action != "add":
        found.insert(0, f"the image is built again because of {', '.join(image.why)}")
    return "; ".join(found)


def finding_texts(findings: Iterable[RuleFinding]) -> Iterator[tuple[RuleFinding, str]]:
    """Each broken rule with its sentence; what breaks one in the same way is there once, with the places."""
    places: dict[tuple[str, str, str], list[RuleFinding]] = {}
    for each in findings:
        places.setdefault((each.severity, each.rule, each.message), []).append(each)
    for found in places.values():
        where = [" in ".join(part for part in (f.api, f.environment) if part) for f in found]
        more = f" and {len(where) - _MOST_NAMED} more" if len(where) > _MOST_NAMED else ""
        named = ", ".join(dict.fromkeys(filter(None, where[:_MOST_NAMED])))
        first = found[0]
        lead = f"{named}{more}: " if named else ""
        remedy = f"; {first.remedy}" if first.remedy else ""
        yield first, f"{lead}{first.message}{remedy}"
