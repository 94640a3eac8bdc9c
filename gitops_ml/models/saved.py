"""Models as folders of files: from a path, or from an object of the session."""

from __future__ import annotations

import os
import pickle
import pickletools
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops_ml.errors import Unpackageable, UsageError
from gitops_ml.system.project_files import fault_of_file

_MAIN = "__main__"
_PICKLE = b"\x80"
"""The first byte of pickles since protocol 2, also of those of joblib."""
_LARGEST_PICKLE = 1 << 29


@dataclass(frozen=True, slots=True)
class SavedModel:
    """An object of the session, saved as a file."""

    file: str
    content: bytes
    of_session: tuple[str, ...] = ()
    """The classes and functions of the session that reading it needs."""


def saved(name: str, model: Any, *, takes_session: bool = False) -> Any:
    """``model`` as a path or a saved file: an object is saved once, as two pickles of it may differ.

    With ``takes_session``, its classes of this session travel as source with the predictor.

    Raises:
        Unpackageable: the object cannot be pickled, or a replica could not read it.
    """
    if isinstance(model, SavedModel):
        return model
    if isinstance(model, str | os.PathLike):
        return _with_session(name, Path(model), takes_session=takes_session) or model
    if hasattr(model, "SerializeToString"):
        return SavedModel(f"{name}.onnx", model.SerializeToString())
    content = pickled(name, model, takes_session=takes_session)
    return SavedModel(f"{name}.pkl", content, tuple(_of_this_session(texts_in_pickle(content))))


def _with_session(name: str, path: Path, *, takes_session: bool) -> SavedModel | None:
    """A pickle of objects of this session in a file, such as one of `joblib.dump`."""
    file = path.expanduser()
    if not file.is_file() or file.stat().st_size > _LARGEST_PICKLE:
        return None
    with file.open("rb") as opened:
        if opened.read(1) != _PICKLE:
            return None
    content = file.read_bytes()
    if not is_of_session(content):
        return None
    held = vars(sys.modules[_MAIN])
    known = (each for each in held if getattr(held[each], "__module__", None) == _MAIN)
    names = tuple(sorted(each for each in known if each.encode() in content))
    if not (takes_session and names):
        raise _of_a_session(name, names or ("objects of __main__",))
    return SavedModel(file.name, content, names)


def is_of_session(content: bytes) -> bool:
    """Whether it is a pickle that names what is defined in a session or script."""
    return content[:1] == _PICKLE and _MAIN.encode() in content


@contextmanager
def model_folder(name: str, model: Any) -> Iterator[Path]:
    """A folder with the files of ``model`` and nothing else, while the block runs.

    A file keeps its name. An object becomes ``<name>.pkl``, an ONNX model ``<name>.onnx``.

    Raises:
        UsageError: there is no such file or folder.
        Unpackageable: the object cannot be pickled, or a replica could not read it.
    """
    if isinstance(model, str | os.PathLike):
        path = Path(model).expanduser().absolute()
        if path.is_dir():
            yield path
            return
        if not path.is_file():
            raise UsageError(f'models: "{name}" is {os.fspath(model)!r}, which does not exist')
        if fault := fault_of_file(path):
            raise UsageError(f'models: "{name}" is {os.fspath(model)!r}, which {fault}')
    with tempfile.TemporaryDirectory(prefix="gitops-ml-model-") as temporary:
        folder = Path(temporary)
        if isinstance(model, str | os.PathLike):
            _link(path, folder / path.name)
        else:
            file = saved(name, model)
            (folder / file.file).write_bytes(file.content)
        yield folder


def _link(path: Path, target: Path) -> None:
    try:
        target.symlink_to(path)
    except OSError:
        shutil.copyfile(path, target)


def pickled(name: str, model: Any, *, takes_session: bool = False) -> bytes:
    """The object as a pickle that a replica can read.

    Raises:
        Unpackageable: it cannot be pickled, or its pickle needs a class of this session.
    """
    try:
        content = pickle.dumps(model, protocol=5)
    except Exception as error:
        # __reduce__ of any class may raise anything
        raise Unpackageable(
            f"the model {name}", [f"it cannot be pickled ({error}): save it and give the path"]
        ) from error
    texts = texts_in_pickle(content)
    names = _of_this_session(texts)
    if _MAIN in texts and not (takes_session and names):
        raise _of_a_session(name, names or [type(model).__name__])
    return content


def _of_a_session(name: str, names: Sequence[str]) -> Unpackageable:
    return Unpackageable(
        f"the model {name}",
        [
            f"it holds {', '.join(names)} of this session, which a replica would not know: define "
            f"{'them' if len(names) > 1 else 'it'} in a module beside the notebook, and import it from there"
        ],
    )


def _of_this_session(texts: set[str]) -> list[str]:
    """The classes and functions of the session among the texts of a pickle."""
    if _MAIN not in texts:
        return []
    held = vars(sys.modules[_MAIN])
    tops = {text.partition(".")[0] for text in texts}
    return sorted(name for name in tops if getattr(held.get(name), "__module__", None) == _MAIN)


def modules_in_pickle(content: bytes) -> frozenset[str]:
    """The modules that unpickling imports: texts in it that are names of loaded modules."""
    return frozenset(text for text in texts_in_pickle(content) if text in sys.modules) - {_MAIN}


def modules_of(name: str, model: Any) -> frozenset[str]:
    """The modules that reading a model needs, as far as they are known from its object."""
    file = saved(name, model)
    if isinstance(file, SavedModel) and file.file.endswith(".pkl"):
        return modules_in_pickle(file.content)
    return frozenset()


def texts_in_pickle(content: bytes) -> set[str]:
    return {each for _, each, _ in pickletools.genops(content) if isinstance(each, str)}
