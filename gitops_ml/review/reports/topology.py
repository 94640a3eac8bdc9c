"""A release as a picture, from the route to the pods, with its autoscaler, image and models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.review.reports.svg import element, picture, text
from gitops_ml.review.review import ReleaseReview, Side

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDTH, _GAP, _LINE, _TOP = 360, 26, 15, 24
_LEFT, _RIGHT = (8, 172), (200, 152)
"""Where a column begins, and its width."""
_WHOLE = (8, 344)
_MOST_LINES = 5


@dataclass(frozen=True, slots=True)
class Node:
    key: str
    title: str
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return _TOP + _LINE * max(1, len(self.lines)) + 4


_KINDS = {
    "route": ("HTTPRoute", "Ingress"),
    "http": ("InterceptorRoute",),
    "service": ("Service",),
    "pods": ("Deployment", "ConfigMap", "PodDisruptionBudget", "ExternalSecret"),
    "autoscaler": ("ScaledObject", "TriggerAuthentication"),
}
"""The Kubernetes objects that a node stands for."""
_ROWS = (("route",), ("http",), ("service",), ("pods", "autoscaler"), ("image", "models"))


def topology(release: ReleaseReview) -> Markup:
    """The release after the change, or before it where it goes; nodes that differ say so."""
    before, after = (
        {node.key: node for node in nodes_of(side)} if side else {}
        for side in (release.before, release.after)
    )
    touched = {rated.change.kind for rated in release.objects} if before and after else set()
    states = {}
    for key in {**before, **after}:
        is_touched = not touched.isdisjoint(_KINDS.get(key, ()))
        states[key] = _state(before.get(key), after.get(key), is_touched=is_touched)
    nodes = before | after
    drawn, height = _drawn(nodes, states)
    title = f"{release.api} in {release.environment}: {', '.join(_spoken(nodes, states))}"
    return picture(*drawn, width=_WIDTH, height=height, title=title, class_="topology")


def _state(before: Node | None, after: Node | None, *, is_touched: bool) -> str:
    if before is None or after is None:
        return "added" if before is None else "removed"
    return "changed" if is_touched or before.lines != after.lines else "same"


def _spoken(nodes: Mapping[str, Node], states: Mapping[str, str]) -> Iterator[str]:
    for row in _ROWS:
        for key in row:
            if key in nodes:
                yield f"{nodes[key].title} {states[key]}"


def _drawn(nodes: Mapping[str, Node], states: Mapping[str, str]) -> tuple[list[Markup], float]:
    drawn: list[Markup] = []
    y = 6
    for row in _ROWS:
        present = [nodes[key] for key in row if key in nodes]
        if not present:
            continue
        if y > 6:
            drawn.append(_arrow_down(y - _GAP, points_up=row == _ROWS[-1]))
        columns = (_LEFT, _RIGHT) if len(present) > 1 else (_WHOLE,)
        height = max(node.height for node in present)
        for node, column in zip(present, columns, strict=True):
            drawn += _box(node, column, y, height, states[node.key])
        if row == ("pods", "autoscaler") and len(present) > 1:
            drawn.append(_arrow(_RIGHT[0], y + height / 2, _LEFT[0] + _LEFT[1], y + height / 2))
        y += height + _GAP
    return drawn, y - _GAP + 6


def _box(
    node: Node, column: tuple[int, int], y: float, height: float, state: str
) -> Iterator[Markup]:
    x, width = column
    if node.key == "pods":
        shadow = {"x": x + 4, "y": y + 4, "width": width, "height": height, "rx": 6}
        yield element("rect", class_="card", **shadow)
    yield element("rect", x=x, y=y, width=width, height=height, rx=6, class_=f"node {state}")
    yield text(node.title, x=x + 8, y=y + 16, room=width - 16, class_="heading")
    if state != "same":
        end = {"text_anchor": "end", "class_": f"state {state}"}
        yield element("text", state, x=x + width - 8, y=y + 16, **end)
    for index, line in enumerate(node.lines):
        yield text(line, x=x + 8, y=y + _TOP + 10 + _LINE * index, room=width - 14)


def _arrow_down(y: float, *, points_up: bool) -> Markup:
    ends = (y + _GAP - 1, y + 6) if points_up else (y + 1, y + _GAP - 1)
    return _arrow(_LEFT[0] + 60, ends[0], _LEFT[0] + 60, ends[1])


def _arrow(x: float, y: float, to_x: float, to_y: float) -> Markup:
    """A line with a head at its end, along one axis."""
    if x == to_x:
        back = -6 if to_y > y else 6
        head = f"M{to_x - 4} {to_y + back}L{to_x} {to_y}L{to_x + 4} {to_y + back}"
    else:
        back = -6 if to_x > x else 6
        head = f"M{to_x + back} {to_y - 4}L{to_x} {to_y}L{to_x + back} {to_y + 4}"
    return element("path", d=f"M{x} {y}L{to_x} {to_y}{head}", class_="arrow")


# -- what the values say ---------------------------------------------------------------------------


def nodes_of(side: Side) -> Iterator[Node]:
    """The parts of a release, as the values of the chart state them."""
    values = side.values
    scaling = _section(values, "autoscaling")
    yield _route(_section(values, "route"))
    if _section(scaling, "httpAddon").get("enabled"):
        yield Node("http", "HTTP add-on", ("holds requests while there is no replica",))
    port = _section(values, "service").get("port", 80)
    proxy = _section(values, "proxy")
    target = proxy.get("port") or _section(values, "container").get("port", 8080)
    name = _section(values, "api").get("name", "")
    yield Node("service", "Service", (f"{name}, port {port} to {target}",))
    yield _pods(values, scaling)
    if triggers := tuple(_triggers(scaling)):
        yield Node("autoscaler", "Autoscaler", _cut(triggers))
    yield Node("image", "Image", _cut(tuple(_image(side))))
    if models := tuple(dict.fromkeys(_models(values))):
        yield Node("models", "Models", _cut(models))


def _route(route: Mapping[str, Any]) -> Node:
    hosts, path = _list(route.get("hosts")), str(route.get("path", "/"))
    kind = {"httpRoute": "HTTPRoute", "ingress": "Ingress"}.get(str(route.get("type")), "Route")
    if not hosts:
        where = f"{path}, inside of the cluster" if kind == "Route" else f"any host, {path}"
        return Node("route", kind, (where,))
    return Node("route", kind, _cut(tuple(f"{host}{path}" for host in hosts)))


def _pods(values: Mapping[str, Any], scaling: Mapping[str, Any]) -> Node:
    least = scaling.get("minReplicas", values.get("replicas", 1))
    most = scaling.get("maxReplicas", least)
    replicas = f"{least} to {most} replicas" if least != most else f"replicas: {least}"
    resources = _section(values, "resources")
    lines = [f"{resources.get('cpu', '?')} CPU, {resources.get('memory', '?')}"]
    if gpu := _section(resources, "gpu"):
        lines.append(f"{gpu.get('count', 1)} × {gpu.get('resource', 'GPU')}")
    sidecars = [s.get("name") for s in _list(values.get("sidecars")) if isinstance(s, Mapping)]
    if _section(values, "proxy").get("enabled"):
        sidecars.insert(0, "queue-proxy")
    if sidecars:
        lines.append("with " + ", ".join(map(str, sidecars)))
    selector = _section(_section(values, "scheduling"), "nodeSelector")
    lines += [f"on {key.rpartition('/')[2]}={value}" for key, value in selector.items()]
    return Node("pods", "Pods", _cut((replicas, *lines)))


def _triggers(scaling: Mapping[str, Any]) -> Iterator[str]:
    in_flight = _section(scaling, "inFlight")
    if in_flight.get("enabled"):
        yield f"in flight: {in_flight.get('target', '?')} each"
    if _section(scaling, "cpu").get("enabled"):
        yield "CPU"
    for window in _list(scaling.get("cron")):
        if isinstance(window, Mapping):
            yield f"schedule: {window.get('replicas')}"
    for trigger in _list(scaling.get("triggers")):
        if isinstance(trigger, Mapping):
            yield str(trigger.get("name") or trigger.get("type"))


def _image(side: Side) -> Iterator[str]:
    image = _section(side.values, "image")
    repository = str(image.get("repository", "")) or side.image
    yield repository.rpartition("/")[2] or repository
    if tag := image.get("tag"):
        yield str(tag)
    # Before a build, the hash of the inputs is in the place of the digest.
    if (digest := image.get("digest")) and digest != f"sha256:{side.content_hash}":
        yield str(digest)


def _models(values: Mapping[str, Any]) -> Iterator[str]:
    for artifact in _list(_section(values, "models").get("artifacts")):
        if isinstance(artifact, Mapping):
            yield str(artifact.get("reference"))
    runtime = _section(values, "runtime")
    for key in ("models", "multiModelReloading"):
        models = _section(runtime, key)
        places = [models.get("path"), models.get("dir")]
        places += [m.get("path") for m in _list(models.get("paths")) if isinstance(m, Mapping)]
        yield from (str(place) for place in places if place)


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= _MOST_LINES:
        return lines
    return (*lines[: _MOST_LINES - 1], f"and {len(lines) - _MOST_LINES + 1} more")
