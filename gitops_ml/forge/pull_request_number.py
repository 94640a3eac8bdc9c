"""Find the number of the pull request in the message of a merge commit."""

from __future__ import annotations

import re

# What each forge writes when a pull request is merged on its page; people may change the rest.
_SUBJECTS = (
    re.compile(r"Merge pull request #(\d+)\b"),  # GitHub, Bitbucket Data Center
    re.compile(r"Pull request #(\d+): "),  # older Bitbucket Server
    re.compile(r"Merged in .+ \(pull request #(\d+)\)$"),  # Bitbucket Cloud
    re.compile(r"Merge pull request '.*' \([#!](\d+)\) from "),  # Gitea, Forgejo
    re.compile(r"Merged PR (\d+): "),  # Azure DevOps
    re.compile(r".* \([#!](\d+)\)$"),  # squashed or rebased: GitHub, Gitea, Forgejo
)
_GITLAB = re.compile(r"^See merge request \S*!(\d+)$", re.M)


def pull_request_number(message: str) -> int | None:
    """The number in a commit's message; `None` where there is none.

    >>> pull_request_number("Deploy iris to staging (#12)")
    12
    """
    subject = message.lstrip().split("\n", 1)[0].rstrip()
    for pattern in _SUBJECTS:
        if match := pattern.match(subject):
            return int(match[1])
    match = _GITLAB.search(message.replace("\r", ""))
    return int(match[1]) if match else None
