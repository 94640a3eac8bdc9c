"""What is packaged beside the code of a class: the user's own modules, and files that are read by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from gitops_ml.capture.files_of_source import named_files
from gitops_ml.capture.live_session import Session
from gitops_ml.capture.own_modules import OwnModules, follow
from gitops_ml.capture.own_secrets import secret_reasons
from gitops_ml.errors import Unpackageable
from gitops_ml.models.saved import is_of_session
from gitops_ml.system.project_files import HEAD, pointer_fault


def beside(
    name: str, code: Mapping[str, bytes], modules: Iterable[str], session: Session
) -> OwnModules:
    """The own modules of the package of a class, and the files that they and its source read by name.

    Raises:
        Unpackageable: some hold secrets or only pointers, or cannot be in a package.
    """
    own = follow(modules, folder=session.folder)
    packaged = {**own.files, **code}
    texts = [
        each.decode("utf-8", "replace") for path, each in packaged.items() if path.endswith(".py")
    ]
    named = named_files(
        texts, (Path.cwd(), session.folder.resolve()), {*packaged, "requirements.txt"}
    )
    files = {**named.taken, **own.files}
    faults = ((path, pointer_fault(content[:HEAD])) for path, content in sorted(files.items()))
    reasons = [f"{path} {fault}" for path, fault in faults if fault]
    reasons += [
        f"{path} {_OF_A_SESSION}" for path, each in named.taken.items() if is_of_session(each)
    ]
    reasons += [f"it reads {path} of this machine, {_NOT_TAKEN}" for path in named.refused]
    if reasons := [*secret_reasons(files), *reasons]:
        raise Unpackageable(name, reasons)
    return replace(own, files=files, named=named.others, taken=tuple(sorted(named.taken)))


_OF_A_SESSION = (
    "is a pickle of objects of a session, whose classes a replica has under another name: give it as "
    'models={"name": "file"}'
)
_NOT_TAKEN = (
    "and a package takes files of at most 1 MiB below the working folder: give it as "
    'models={"name": "file"} and read it below config["name"], or read it in a cell'
)
