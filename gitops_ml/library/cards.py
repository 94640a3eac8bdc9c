"""How results look: a card in a notebook, lines of text elsewhere."""

from __future__ import annotations

import html as _html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops_ml.library.results import Api


def text(api: Api) -> str:
    lines = [f"{api.name} in {api.environment}: {api.summary}"]
    lines.append(f"  deployment id  {api.deployment_id}")
    lines.append(f"  image          {api.image}")
    lines += [f"  note           {note}" for note in (*api.notes, *api.warnings)]
    return "\n".join(lines)


def html(api: Api) -> str:
    return f"<pre>{_html.escape(text(api))}</pre>"
