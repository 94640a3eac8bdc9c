"""Write the description of a pull request: the releases that change, how, and how to try them.

Everything is read from the files before and after, so that the pull requests of all verbs have the same
form. The text stays within the limit of every forge for any number of releases: releases that change
alike are shown once, and the rest is counted.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from gitops_ml.documents.markdown import block, cell, code, escaped
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import Change
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import (
    ReleaseChange,
    changed_releases,
    changes_by_release,
    follows_mode,
)
from gitops_ml.gitops.commit_message import VERBS
from gitops_ml.gitops.differences import FieldChange, field_changes
from gitops_ml.gitops.release_yaml import image_of, origin_of, read_fields
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.resources import template

LONGEST_BODY = 30_000
"""Characters. Bitbucket takes 32,768, GitHub 65,536."""
_LONGEST_TITLE = 200
_MOST_ROWS = 60
_MOST_COMPARED = 200
"""Releases that are compared field by field."""
_MOST_LINES = 60
_LONGEST_VALUE = 120
_SHOWN_ELSEWHERE = ("api.deploymentId", "image.")


def title_of(message: str) -> str:
    """The title for a commit: its subject, on one line."""
    return one_line(message.partition("\n")[0], most=_LONGEST_TITLE)


def pull_request_body(
    changes: Sequence[Change],
    *,
    why: str = "",
    warnings: Iterable[str] = (),
    head: str,
    kept: Collection[str] = (),
) -> str:
    """The description of a pull request with these changes, in Markdown.

    ``why`` is Markdown; everything else is escaped. ``kept`` are the environments where Argo CD deletes
    nothing.
    """
    releases = changed_releases(changes, kept=kept)
    facts: dict[str, Any] = {
        "why": why.strip(),
        "rows": [_row(release) for release in releases[:_MOST_ROWS]],
        "more_rows": max(0, len(releases) - _MOST_ROWS),
        "other": _other(changes),
        "tries": _tries(releases),
        "warnings": list(warnings)[:_MOST_ROWS],
        "sources": _sources(releases),
        "identities": [id for release in releases if (id := release.ids[1])][:_MOST_ROWS],
        "head": head,
    }
    text = template("pull_request.md.j2", code=code, cell=cell, block=block, escaped=escaped)
    render = partial(text.render, **facts)
    details = [_section(alike, lines) for (_, lines), alike in _groups(releases).items()]
    room = LONGEST_BODY - len(render(details=[], hidden=0)) - 200
    sizes = accumulate(len(each["title"]) + len(each["block"]) + 10 for each in details)
    shown = sum(size <= room for size in sizes)
    hidden = max(0, len(releases) - _MOST_COMPARED)
    hidden += sum(each["count"] for each in details[shown:])
    body = render(details=details[:shown], hidden=hidden).strip() + "\n"
    return body if len(body) <= LONGEST_BODY else f"{body[: LONGEST_BODY - 2]}…\n"


def _row(release: ReleaseChange) -> Mapping[str, str]:
    return {
        "action": release.action,
        "environment": release.environment,
        "api": release.api,
        "identity": _arrow(*(id and code(id) for id in release.ids)),
        "image": _arrow(*(image and code(image) for image in map(_image, release.facts))),
        "pods": escaped(release.pods),
    }


def _arrow(before: str | None, after: str | None) -> str:
    if before == after:
        return after or "–"
    return " → ".join(part for part in (before, after or "–") if part).replace("|", "\\|")


def _groups(
    releases: Sequence[ReleaseChange],
) -> dict[tuple[str, tuple[str, ...]], list[ReleaseChange]]:
    """The releases that change alike, by action and the lines of the change."""
    groups: dict[tuple[str, tuple[str, ...]], list[ReleaseChange]] = {}
    for release in releases[:_MOST_COMPARED]:
        if lines := _lines(release):
            groups.setdefault((release.action, lines), []).append(release)
    return groups


def _section(alike: Sequence[ReleaseChange], lines: Sequence[str]) -> dict[str, Any]:
    names = [f"{code(each.api)} in {code(each.environment)}" for each in alike[:5]]
    more = len(alike) - len(names)
    title = ", ".join(names) + (f" and {more} more" if more else "")
    is_new = alike[0].action == "add"
    text = block("\n".join(lines), "yaml" if is_new else "diff")
    return {"title": title, "block": text, "count": len(alike)}


def _lines(release: ReleaseChange) -> tuple[str, ...]:
    """The change of a release, a line for each value; for a new one its manifest."""
    if release.action == "add":
        manifest = read_fields(release.facts[1]).get("manifest")
        lines = write_yaml(manifest).splitlines() if isinstance(manifest, dict) else []
    elif release.action == "modify":
        lines = [line for each in _fields(release) for line in field_lines(each)]
    else:
        lines = []
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"# and {len(lines) - _MOST_LINES} more lines"]
    return tuple(lines)


def _fields(release: ReleaseChange) -> Iterable[FieldChange]:
    old, new = (read_fields(content).get("chart") for content in release.facts)
    yield from field_changes({"chart": old}, {"chart": new})
    before, after = map(read_fields, release.values)
    for each in field_changes(before, after):
        if not each.path.startswith(_SHOWN_ELSEWHERE):
            yield each


def field_lines(change: FieldChange) -> Iterable[str]:
    """One field before and after, as lines of a diff."""
    path = one_line(change.path)
    if change.action != "add":
        yield f"- {path}: {_short(change.before)}"
    if change.action != "delete":
        yield f"+ {path}: {_short(change.after)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _other(changes: Iterable[Change]) -> list[str]:
    """The changes besides releases: each file of Argo CD, each chart as a whole, what follows a mode."""
    changes, found = tuple(changes), Counter[tuple[str, str]]()
    for change in changes:
        if not change.path.startswith(f"{layout.RELEASES}/"):
            found[layout.chart_of(change.path) or change.path, change.action] += 1
    for (environment, _), named in changes_by_release(changes).items():
        if follows_mode(named):
            path = f"{layout.release_directory(environment, '*')}/{layout.MANIFEST}"
            found[path, named[layout.MANIFEST].action] += 1
    lines = [
        f"{code(path)}: {f'{count} files ' if count > 1 else ''}{VERBS[action]}"
        for (path, action), count in sorted(found.items())
    ]
    return [*lines[:20], *([f"and {len(lines) - 20} more"] if len(lines) > 20 else [])]


def _tries(releases: Iterable[ReleaseChange]) -> list[Mapping[str, str]]:
    """Commands to try the first releases."""
    found: list[Mapping[str, str]] = []
    for release in releases:
        if release.action == "delete" or len(found) == 3:
            continue
        facts = read_fields(release.facts[1])
        chart = facts.get("chart") or {}
        directory = layout.release_directory(release.environment, release.api)
        found.append(
            {
                "render": f"helm template {release.api} charts/{chart.get('name')}/"
                f"{chart.get('version')} -f {directory}/{layout.VALUES}"
                if chart
                else "",
                "call": _call(read_fields(release.values[1])),
                "identity": release.ids[1] or "",
            }
        )
    return found


def _call(values: Mapping[str, Any]) -> str:
    route = values.get("route") or {}
    hosts = [host for host in route.get("hosts") or () if "*" not in host]
    if route.get("type") in (None, "none") or not hosts:
        return ""
    url = f"https://{hosts[0]}{route.get('path') or '/'}"
    return f"curl -i {shlex.quote(url)} -H 'content-type: application/json' -d @request.json"


def _sources(releases: Iterable[ReleaseChange]) -> list[Mapping[str, object]]:
    """The provenance of the new releases, each source once."""
    found: dict[tuple[tuple[str, object], ...], Mapping[str, object]] = {}
    for release in tuple(releases)[:_MOST_COMPARED]:
        facts = read_fields(release.facts[1])
        provenance = facts.get("provenance")
        if isinstance(provenance, dict):
            source: dict[str, object] = {
                str(key): str(value) for key, value in provenance.items() if value
            }
            source["origin"] = origin_of(provenance)
            found[tuple(sorted(source.items()))] = source
    return list(found.values())[:3]


def _image(content: bytes | None) -> str | None:
    """The image's name, and the beginning of its digest."""
    image = image_of(content)
    if image is None or image.digest is None:
        return None
    name = image.repository.rpartition("/")[2]
    return f"{name}@{image.digest[:19]}"
