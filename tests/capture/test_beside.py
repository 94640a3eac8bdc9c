"""Which files of this machine a text reads, and which of them a package takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.capture.beside import LARGEST, NamedFiles, named_files

A, IN_DATA = {"a.txt": b"a"}, {"data/b.json": b"[]"}
CASES = {
    "a call": ("open('a.txt')", A, (), ()),
    "a name": ("LABELS = 'a.txt'\ndef f(): return open(LABELS)", A, (), ()),
    "an attribute": ("class P:\n def f(self):\n  self.p = 'a.txt'\n  open(self.p)", A, (), ()),
    "a default of config": ("open(config.get('labels', 'a.txt'))", A, (), ()),
    "a default of a parameter": ("def f(path='a.txt'): return open(path)", A, (), ()),
    "a keyword": ("read_csv(filepath_or_buffer='a.txt')", A, (), ()),
    "a path that is joined": ("(Path('data') / 'b.json').read_text()", IN_DATA, (), ()),
    "a path below a folder": ("HERE = Path(__file__).parent\n(HERE / 'data' / 'b.json').open()", IN_DATA, (), ()),
    "os.path.join": ("open(os.path.join(os.path.dirname(__file__), 'data', 'b.json'))", IN_DATA, (), ()),
    "joinpath": ("Path('data').joinpath('b.json').read_bytes()", IN_DATA, (), ()),
    "a text with fields": ("D = 'data'\nopen(f'{D}/b.json')", IN_DATA, (), ()),
    "texts that are added": ("BASE = 'data'\nopen(BASE + '/b.json')", IN_DATA, (), ()),
    "a folder": ("sorted(Path('data').glob('*.json'))", IN_DATA, (), ()),
    "a folder of a model": ("Model.from_pretrained('./data')", IN_DATA, (), ()),
    "a path with dots": ("open('./data/../a.txt')", A, (), ()),
    "a large file": ("open('large.bin', 'rb')", {}, ("large.bin",), ()),
    "a large file that nothing reads": ("NAMES = ['large.bin']", {}, (), ("large.bin",)),
    "a file above": ("open('../above.txt')", {}, ("../above.txt",), ()),
    "a file that is written": ("open('a.txt', 'w').write('')", {}, (), ()),
    "a file that is asked for": ("os.path.exists('a.txt')", {}, (), ()),
    "a docstring": ("'a.txt'", {}, (), ()),
    "no file": ("open('other.txt')", {}, (), ()),
    "a word that is a folder": ("key = 'data'", {}, (), ()),
    "a file of the system": ("open('/etc/hostname')", {}, (), ()),
    "a whole path of a folder": ("BASE = '{whole}'", {}, (), ("{whole}",)),
    "a route": ("ROUTE = '/data'", {}, (), ()),
    "no Python": ("open('a.txt'", {}, (), ()),
}  # fmt: skip


@pytest.mark.parametrize(("text", "taken", "refused", "others"), CASES.values(), ids=CASES)
def test_files_that_a_text_names(tmp_path, text, taken, refused, others):
    folder = tmp_path / "work"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "above.txt").write_text("")
    (folder / "a.txt").write_text("a")
    (folder / "data/b.json").write_text("[]")
    (folder / "large.bin").write_bytes(bytes(LARGEST + 1))
    whole = str(tmp_path / "elsewhere" / "data")
    Path(whole).mkdir(parents=True)
    text, others = (
        text.replace("{whole}", whole),
        tuple(each.replace("{whole}", whole) for each in others),
    )
    found = named_files([text], (folder,), packaged=())
    assert found == NamedFiles(taken, refused, others)
