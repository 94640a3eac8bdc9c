"""Functions of gitops-ml that are called without the command: with a patience that does not wait."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.cluster.kubeconfig import ClusterRef
from gitops_ml.cluster.kubernetes import KubernetesCluster
from gitops_ml.commands.inspect import export_image
from gitops_ml.errors import GitopsMlError
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.open import forge_over
from gitops_ml.forge.pull_request import Proposal
from gitops_ml.forge.token import ForgeToken
from gitops_ml.http.response import RetryPolicy
from gitops_ml.image.contents import open_image
from gitops_ml.models.artifact import RegistryModels
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.registry_session import RegistrySession
from gitops_ml.packages.index import IndexSettings, PackageFile, PackageIndex
from gitops_ml.packages.resolver import Resolver
from gitops_ml.packages.wheels import Scheme, describe_wheel, wheel_entries

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPATIENT = RetryPolicy(attempts=2, sleep=lambda seconds: None)


def _registry() -> OciRegistry:
    return OciRegistry(RegistrySession(os.environ, patience=_IMPATIENT))


def _silent(line: str) -> None:
    """Progress is of no interest here."""


def inspect(host: str) -> str:
    """What is in an image."""
    found = open_image(_registry(), ImageRef(f"{host}/x/y", tag="t"))
    return f"{found.contents.platform} {found.contents.labels}"


def digest(host: str) -> str:
    """What a tag stands for."""
    return str(_registry().digest(ImageRef(f"{host}/x/y", tag="t")))


def export(host: str) -> str:
    """The files of a project, out of an image."""
    with _clean(Path("exported")) as folder:
        return str(export_image(_registry(), ImageRef(f"{host}/x/y", tag="t"), folder))


def pull(host: str) -> str:
    """The files of a model."""
    image = ImageRef(f"{host}/x/y", tag="t")
    with _clean(Path("model")) as folder:
        models = RegistryModels(_registry(), environ={})
        return str(models.pull(image, folder, progress=_silent))


@contextmanager
def _clean(folder: Path) -> Iterator[Path]:
    """A folder that has nothing after a refusal, and else nothing that leaves it or that git obeys."""
    try:
        yield folder
    except GitopsMlError:
        assert not folder.exists() or not any(folder.iterdir()), "a refusal leaves files"
        raise
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        assert ".git" not in {part.lower() for part in inside.parts}, inside
        assert path.is_symlink() or path.is_dir() or path.is_file(), inside
        is_inside = Path(os.path.realpath(path)).is_relative_to(folder.resolve())
        assert is_inside, f"{inside} leaves the folder"


def forge(kind: str, host: str) -> str:
    """The pull request of a branch, and a new one."""
    address = ForgeAddress(type=kind, api_url=f"http://{host}/api", repository="o/r", host=host)
    session = ForgeSession(
        address=address, token=ForgeToken("the-token-of-this-forge", "the tests"),
        environ=os.environ, patience=_IMPATIENT,
    )  # fmt: skip
    found = forge_over(session)
    proposal = Proposal(
        head="change", base="main", title="x", body="x", reviewers=("a",), teams=("b",),
        labels=("c",), auto_merge=True,
    )  # fmt: skip
    return f"{found.find(head='change', base='main')} {found.open(proposal)} {found.of_commit('1' * 40)}"


def index(host: str) -> str:
    """The wheels of a package, and the first of them."""
    settings = IndexSettings(indexes=(f"http://{host}/simple",))
    resolver = Resolver(
        project=Path.cwd(), python="3.11", platform="linux/amd64", settings=settings
    )
    return f"{resolver.wheels_of(['six==1.0'])['six'].wheels} {package(host)}"


def package(host: str) -> str:
    """A file of a package."""
    found = PackageIndex(IndexSettings(indexes=(f"http://{host}/simple",)))
    file = PackageFile(filename="six-1-py3-none-any.whl", url=f"http://{host}/six-1.whl")
    Path("wheels").mkdir()
    return f"{found.download(file, Path('wheels'))}"


def wheel(path: str) -> str:
    """What of a wheel enters an image."""
    entries = wheel_entries([Path(path)], scheme=Scheme("opt/venv", "3.11"))
    paths = [entry.path for entry in entries]
    assert not [each for each in paths if each.startswith("/") or ".." in each.split("/")], paths
    return f"{len(paths)} {describe_wheel(Path(path), fingerprint='0' * 64)}"


def cluster(host: str) -> str:
    """What runs, as the API server tells it."""
    user = {"name": "u", "user": {}}
    server = {"name": "c", "cluster": {"server": f"http://{host}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {"current-context": "c", "clusters": [server], "users": [user], "contexts": [context]}
    Path("kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
    wanted = ClusterRef(name="the cluster", key="c", context="c", server=None, is_only=True)
    found = KubernetesCluster(wanted, {**os.environ, "KUBECONFIG": "kubeconfig"})
    return (
        f"{found.workloads('ml', environment='staging')} {found.warnings('ml')} "
        f"{found.applications('argocd', environment='staging')}"
    )
