"""How `gitops-ml diff --live` shows what the cluster has otherwise than Git."""

from __future__ import annotations

import json

from gitops_ml.cli import report
from gitops_ml.commands.get import utc_now
from gitops_ml.commands.live import Drift, ReleaseDrift
from gitops_ml.gitops.drift import LiveDifference

_LONGEST = 120
_WHOLE = {
    "add": "in the cluster, and not in Git",
    "delete": "in Git only",
    "modify": "not as in Git, by Argo CD's comparison",
}


def show(drift: Drift) -> None:
    for release in drift.releases:
        _show_release(release)
    count = sum(len(release.unexpected) for release in drift.releases)
    if count:
        report.echo(f"{report.count(count, 'difference')} between Git and the cluster")
    else:
        report.echo("the cluster is as in Git")


def _show_release(release: ReleaseDrift) -> None:
    commit = f" at {release.revision[:12]}" if release.revision else ""
    says = f"Argo CD: {release.sync}{commit}" if release.sync else "Argo CD: no Application"
    report.echo(f"{release.api} in {release.environment} ({says})")
    shown = ""
    for each in release.differences:
        name = f"{each.kind}/{each.name}"
        if name != shown and each.path:
            report.echo(f"  {name}")
        shown = name
        report.changed(each.action, _line(each), indent="    " if each.path else "  ")


def _line(each: LiveDifference) -> str:
    if not each.path:
        return f"{each.kind}/{each.name}: {_WHOLE[each.action]}{_by(each)}"
    git, live = _in_short(each.git), _in_short(each.live)
    values = {"add": live, "delete": f"{git} is missing", "modify": f"{git} -> {live}"}
    return f"{each.path}: {values[each.action]}{_by(each)}"


def _by(each: LiveDifference) -> str:
    if each.owner is None:
        return ""
    age = f", {report.age(each.owner.at, now=utc_now())} ago" if each.owner.at else ""
    expected = ", as intended" if each.is_expected else ""
    return f" ({each.owner.name}{age}{expected})"


def _in_short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
