"""Elements of pictures as text; what is not markup is escaped."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from gitops_ml.system.clean_text import one_line, printable

WIDE = 7.4
"""Pixels of an average character of 11 pixels, in the widest of the usual fonts."""


def element(name: str, *children: str, **attributes: object) -> Markup:
    """One element. ``_`` at the end of an attribute's name goes, and within it becomes ``-``."""
    words = (
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(map(_visible, children))
    return Markup(f"<{name}{''.join(words)}>{inside}</{name}>")  # noqa: S704 - all parts are escaped


def _visible(child: str) -> str:
    """Markup as it is; other words without characters that steer their display."""
    return child if isinstance(child, Markup) else printable(child)


def _number(value: object) -> object:
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def picture(*children: str, width: float, height: float, title: str, class_: str = "") -> Markup:
    """A picture that grows with the page; its title is read aloud in its place."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {_number(float(width))} {_number(float(height))}",
        role="img",
        class_=class_ or None,
    )


def text(words: str, *, x: float, y: float, room: float, class_: str | None = None) -> Markup:
    """One line, shortened to its room; all of it is there for a mouse that rests on it."""
    line = one_line(words)
    shown = shortened(line, max(4, int(room / WIDE)))
    whole = [element("title", line)] if shown != line else []
    return element("text", shown, *whole, x=float(x), y=float(y), class_=class_)


def shortened(line: str, most: int) -> str:
    """The beginning and the end of a line, with … between them."""
    if len(line) <= most:
        return line
    tail = (most - 1) // 3
    return f"{line[: most - 1 - tail]}…{line[len(line) - tail :]}"


def path(points: Iterable[tuple[float, float]], *, class_: str) -> Markup:
    """A line that holds each height until the next point."""
    (x, y), *others = points
    words = [f"M{_number(x)} {_number(y)}"]
    words += [f"H{_number(x)}V{_number(y)}" for x, y in others]
    return element("path", d="".join(words), class_=class_)
