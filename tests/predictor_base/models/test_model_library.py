"""Models in folders: which there are, which version serves, and what happens on changes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.errors import BadRequest, LoadFailed, StartFailure, UnknownModel
from predictor_base.models import build_client
from predictor_base.models.disk_cache import DiskCache
from predictor_base.models.stores.local_files import LocalFiles
from predictor_base.models.versions import Source, find_models
from predictor_base.settings import Settings
from tests.support.model_clients import look_twice, python_client

if TYPE_CHECKING:
    from collections.abc import Iterator


class Predictor:
    """Its models are the text of a file."""

    def __init__(self) -> None:
        self.loads: list[str] = []

    def load_model(self, model_path: str) -> str:
        self.loads.append(model_path)
        path = Path(model_path)
        text = (path if path.is_file() else path / "model.txt").read_text()
        if text == "broken":
            raise ValueError("the file is broken")
        return text


def write(folder: Path, versions: dict[str, str]) -> None:
    for version, text in versions.items():
        (folder / version).mkdir(parents=True, exist_ok=True)
        (folder / version / "model.txt").write_text(text)


def remove(folder: Path) -> None:
    (folder / "model.txt").unlink()
    folder.rmdir()


@pytest.fixture
def predictor() -> Predictor:
    return Predictor()


@pytest.fixture
def serve(tmp_path: Path, predictor: Predictor) -> Iterator[Any]:
    clients = []

    def build(**models: Any) -> Any:
        client = python_client(tmp_path, **models)
        clients.append(client)
        client.load(predictor)
        return client

    yield build
    for client in clients:
        client.close()


def test_a_python_predictor_without_models_has_no_client() -> None:
    assert build_client(Settings()) is None


def test_the_latest_version_is_the_highest_number_and_not_the_last_in_the_alphabet(
    tmp_path: Path, serve: Any
) -> None:
    write(tmp_path / "iris", {"9": "nine", "10": "ten"})
    client = serve(path=str(tmp_path / "iris"))
    assert client.get_model() == "ten"
    assert client.get_model(model_version="9") == "nine"
    assert client.get_model(model_version=9) == "nine"
    assert client.get_model(model_version=None) == "ten"


def test_a_folder_without_numbered_versions_is_version_one(tmp_path: Path, serve: Any) -> None:
    write(tmp_path, {"iris": "only"})
    client = serve(path=str(tmp_path / "iris"))
    assert client.get_model(model_version="1") == client.get_model() == "only"


def test_a_number_beside_other_files_is_no_version(tmp_path: Path, serve: Any) -> None:
    write(tmp_path, {"iris": "root", "iris/1": "a part"})
    assert serve(path=str(tmp_path / "iris")).get_model() == "root"


def test_a_model_may_be_one_file_and_load_model_gets_its_path(
    tmp_path: Path, serve: Any, predictor: Predictor
) -> None:
    file = tmp_path / "iris.txt"
    file.write_text("file")
    assert serve(path=f"file://{file}").get_model() == "file"
    assert predictor.loads == [str(file)]


def test_two_names_of_one_location_are_two_models(
    tmp_path: Path, serve: Any, predictor: Predictor
) -> None:
    write(tmp_path / "iris", {"1": "a"})
    paths = [{"name": name, "path": str(tmp_path / "iris")} for name in ("old", "new")]
    client = serve(paths=paths)
    assert client.get_model("old") == client.get_model("new") == "a"
    assert len(predictor.loads) == 2
    (tmp_path / "iris" / "1" / "model.txt").write_text("broken")
    look_twice(client)
    assert client.get_model("old") == client.get_model("new") == "a"


@pytest.mark.parametrize("names", [("old", "new"), ("new", "old")])
def test_names_of_one_location_have_folders_of_their_own_on_disk(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    class Elsewhere(LocalFiles):
        """The same files, as if they were not on this machine."""

        def local_path(self, path: str) -> Path | None:
            return None

    write(tmp_path / "iris", {"1": "a"})
    store = Elsewhere(str(tmp_path / "iris"))
    cache = DiskCache(tmp_path / "cache", size=None)
    for name in names:
        version = find_models(Source(store, name))[name][1]
        with cache.borrow(version) as path:
            assert path.parts[-2:] == (name, "1")
            assert (path / "model.txt").read_text() == "a"


def test_load_model_gets_the_version_folder_itself_and_once(
    tmp_path: Path, serve: Any, predictor: Predictor
) -> None:
    write(tmp_path / "iris", {"1": "a", "2": "b"})
    client = serve(path=str(tmp_path / "iris"))
    client.get_model()
    client.get_model(model_version="2")
    assert predictor.loads == [str(tmp_path / "iris" / "2")]


def test_every_model_of_paths_is_loaded_before_ready(
    tmp_path: Path, serve: Any, predictor: Predictor
) -> None:
    write(tmp_path, {"iris/1": "iris", "mpg/1": "mpg"})
    paths = [{"name": name, "path": str(tmp_path / name)} for name in ("iris", "mpg")]
    client = serve(paths=paths)
    assert len(predictor.loads) == 2
    assert client.get_model("mpg") == "mpg"


def test_a_folder_of_models_names_them(tmp_path: Path, serve: Any) -> None:
    write(tmp_path, {"iris/1": "iris", "mpg/3": "mpg"})
    (tmp_path / "README.md").write_text("not a model")
    client = serve(dir=str(tmp_path))
    assert client.get_model("iris") == "iris"
    assert client.describe()["mpg"]["latest"] == "3"
    with pytest.raises(UnknownModel, match="'cars' does not exist; the known ones are: iris, mpg"):
        client.get_model("cars")
    with pytest.raises(UnknownModel, match="model_name"):
        client.get_model()


def test_an_unknown_version_lists_the_known_ones(tmp_path: Path, serve: Any) -> None:
    write(tmp_path / "iris", {"1": "a", "2": "b"})
    client = serve(path=str(tmp_path / "iris"))
    with pytest.raises(UnknownModel, match="the known ones are: 1, 2"):
        client.get_model(model_version="7")
    with pytest.raises(BadRequest, match="neither a whole number nor latest"):
        client.get_model(model_version="newest")


def test_a_predictor_without_load_model_is_told_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "iris", {"1": "a"})
    document = {"path": "p.py", "multiModelReloading": {"path": str(tmp_path / "iris")}}
    client = build_client(Settings.from_document(document))
    assert client is not None
    with pytest.raises(StartFailure, match=r"load_model\(self, model_path\)"):
        client.load(object())


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "not none"),
        ({"path": "a", "dir": "b"}, "not path and dir"),
        ({"path": "ftp://host/model"}, "not ftp://"),
        ({"path": "s3:///key"}, "s3://bucket/key"),
        ({"path": "hf://gpt2"}, "hf://organisation/repository"),
        ({"path": "https://host/m.onnx#md5=12"}, "sha256="),
    ],
)
def test_a_location_that_cannot_be_meant_is_refused_at_start(
    models: dict[str, str], message: str
) -> None:
    settings = Settings.from_document({"path": "p.py", "multiModelReloading": models})
    with pytest.raises(StartFailure, match=message):
        build_client(settings)


def test_a_model_that_cannot_be_loaded_ends_the_start(tmp_path: Path, serve: Any) -> None:
    write(tmp_path / "iris", {"1": "broken"})
    with pytest.raises(LoadFailed, match=r"iris.*the file is broken"):
        serve(paths=[{"name": "iris", "path": str(tmp_path / "iris")}])


def test_a_new_version_serves_after_it_looked_the_same_twice(tmp_path: Path, serve: Any) -> None:
    write(tmp_path / "iris", {"1": "old"})
    client = serve(path=str(tmp_path / "iris"))
    write(tmp_path / "iris", {"2": "half an upl"})
    client._library.look_again()
    assert client.get_model() == "old"
    write(tmp_path / "iris", {"2": "a whole upload"})
    client._library.look_again()
    assert client.get_model() == "old"
    client._library.look_again()
    assert client.get_model() == "a whole upload"


def test_a_new_version_that_cannot_be_loaded_takes_nobodys_place(
    tmp_path: Path, serve: Any, predictor: Predictor
) -> None:
    write(tmp_path / "iris", {"1": "good"})
    client = serve(path=str(tmp_path / "iris"))
    write(tmp_path / "iris", {"2": "broken"})
    look_twice(client)
    look_twice(client)
    assert client.get_model() == "good"
    assert len(predictor.loads) == 2, "a broken file is not tried again and again"
    write(tmp_path / "iris", {"2": "mended"})
    look_twice(client)
    assert client.get_model() == "mended"


def test_a_changed_version_is_loaded_again(tmp_path: Path, serve: Any) -> None:
    write(tmp_path / "iris", {"1": "before"})
    client = serve(path=str(tmp_path / "iris"))
    write(tmp_path / "iris", {"1": "after it"})
    look_twice(client)
    assert client.get_model() == "after it"


def test_removing_the_latest_version_goes_back_to_the_one_before(
    tmp_path: Path, serve: Any, predictor: Predictor
) -> None:
    write(tmp_path / "iris", {"1": "one", "2": "two"})
    client = serve(path=str(tmp_path / "iris"))
    remove(tmp_path / "iris" / "2")
    client._library.look_again()
    assert client.get_model() == "two", "once may be a hiccup of the store"
    client._library.look_again()
    loads = len(predictor.loads)
    assert client.get_model() == "one"
    assert len(predictor.loads) == loads, "it was loaded before a request had to wait for it"


def test_a_model_whose_store_is_empty_for_a_while_stays(
    tmp_path: Path, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "iris", {"1": "one"})
    client = serve(path=str(tmp_path / "iris"))
    remove(tmp_path / "iris" / "1")
    look_twice(client)
    assert client.get_model() == "one"
    assert "the models do not change" in caplog.text


def test_models_of_a_folder_come_and_go(tmp_path: Path, serve: Any) -> None:
    write(tmp_path, {"iris/1": "iris", "mpg/1": "mpg"})
    client = serve(dir=str(tmp_path))
    write(tmp_path, {"cars/1": "cars"})
    remove(tmp_path / "mpg" / "1")
    look_twice(client)
    assert client.get_model("cars") == "cars"
    with pytest.raises(UnknownModel, match="cars, iris"):
        client.get_model("mpg")


def test_memory_holds_the_latest_version_and_those_asked_for_by_number(
    tmp_path: Path, serve: Any
) -> None:
    write(tmp_path / "iris", {"1": "one", "2": "two"})
    client = serve(path=str(tmp_path / "iris"))
    client.get_model(model_version="1")
    write(tmp_path / "iris", {"3": "three"})
    look_twice(client)
    assert list(client.describe()["model"]["loaded"]) == ["1", "3"]


def test_with_a_cache_models_load_when_asked_for_and_the_least_used_goes(
    tmp_path: Path, serve: Any, predictor: Predictor
) -> None:
    write(tmp_path, {"a/1": "a", "b/1": "b", "c/1": "c"})
    client = serve(dir=str(tmp_path), cacheSize=2, diskCacheSize=2)
    assert predictor.loads == []
    for name in "abac":
        assert client.get_model(name) == name
    assert len(predictor.loads) == 3
    assert client.get_model("a") == "a"
    assert len(predictor.loads) == 3, "a was used after b, so b went"
    client.get_model("b")
    assert len(predictor.loads) == 4


def test_a_model_asked_for_by_many_threads_is_loaded_once(tmp_path: Path, serve: Any) -> None:
    write(tmp_path, {"a/1": "a"})
    loads = []
    everyone = threading.Barrier(8)

    class Slow(Predictor):
        def load_model(self, model_path: str) -> str:
            loads.append(model_path)
            return super().load_model(model_path)

    client = serve(dir=str(tmp_path), cacheSize=1, diskCacheSize=1)
    client._load_model = Slow().load_model

    def ask() -> None:
        everyone.wait()
        assert client.get_model("a") == "a"

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_a_mounted_folder_that_kubernetes_swaps_is_one_model(tmp_path: Path, serve: Any) -> None:
    mount = tmp_path / "mount"
    write(mount, {"..2026_01": "old", "..2026_02": "new!"})
    data = mount / "..data"
    data.symlink_to("..2026_01")
    (mount / "model.txt").symlink_to("..data/model.txt")
    client = serve(path=str(mount))
    assert client.get_model() == "old"
    data.unlink()
    data.symlink_to("..2026_02")
    look_twice(client)
    assert client.get_model() == "new!"


def test_the_background_thread_brings_new_versions(tmp_path: Path, predictor: Predictor) -> None:
    write(tmp_path / "iris", {"1": "one"})
    document = {"path": "p.py", "multiModelReloading": {"path": str(tmp_path / "iris")}}
    loaded = threading.Event()

    class Watching(Predictor):
        def load_model(self, model_path: str) -> str:
            text = super().load_model(model_path)
            if text == "two":
                loaded.set()
            return text

    client = build_client(Settings.from_document(document), interval=0.01)
    assert client is not None
    client.load(Watching())
    try:
        write(tmp_path / "iris", {"2": "two"})
        assert loaded.wait(timeout=60)
    finally:
        client.close()


def test_get_model_inside_the_constructor_is_told_why_it_cannot_work(tmp_path: Path) -> None:
    write(tmp_path / "iris", {"1": "a"})
    document = {"path": "p.py", "multiModelReloading": {"path": str(tmp_path / "iris")}}
    client: Any = build_client(Settings.from_document(document))
    with pytest.raises(LoadFailed, match="__init__"):
        client.get_model()


@pytest.mark.parametrize(
    ("kind", "key", "message"),
    [
        ("python", "models", "not for type python; use multiModelReloading"),
        ("onnx", "multiModelReloading", "type onnx uses models"),
        ("tensorflow", "multiModelReloading", "type tensorflow uses models"),
    ],
)
def test_models_under_the_other_key_are_refused_at_start(kind: str, key: str, message: str) -> None:
    settings = Settings.from_document({"path": "p.py", "type": kind, key: {"path": "models"}})
    with pytest.raises(StartFailure, match=message):
        build_client(settings)
