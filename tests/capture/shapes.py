"""Shapes of notebooks: the cells, what the predictor answers to 2, or a part of the refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    cells: tuple[str, ...]
    answer: Any = None
    refusal: str | None = None
    undo: str = ""
    """A cell that restores the process for the next shape."""


# ruff: noqa: E501 - a cell is one text


def _predicts(body: str) -> str:
    return (
        "class P:\n    def __init__(self, config):\n        pass\n"
        f"    def predict(self, payload):\n        return {body}\n"
    )


def _packaged(*cells: str, body: str, answer: Any, undo: str = "") -> Shape:
    return Shape((*cells, _predicts(body)), answer=repr(answer), undo=undo)


def _refused(*cells: str, body: str, reason: str, undo: str = "") -> Shape:
    return Shape((*cells, _predicts(body)), refusal=reason, undo=undo)


_SINGLE = "import functools\n@functools.singledispatch\ndef clean(value): return 'other'\n"
_CLASS = "class Settings:\n    rounds = 1\n    names = []\n"
_LOOKUP = (
    "class Lookup:\n    def __init__(self): self.known = {}\n"
    "    def learn(self, key, value): self.known[key] = value\n"
)
_COUNT = "def count(words, text):\n    for word in text.split(): words[word] += 1\n"

_KEPT = "from functools import cache\nrate = 2\n@cache\ndef f(x): return x * rate\n"
_KEPT_METHOD = (
    "from functools import lru_cache\nrate = 2\nclass A:\n    @staticmethod\n    @lru_cache(9)\n"
    "    def f(x): return x * rate\n"
)

SHAPES: dict[str, Shape] = {
    # -- assignments
    "two names in one statement": _packaged("mean, std = 0.5, 0.1", body="(payload - mean) / std", answer=15.0),
    "two names, and one is bound again": _packaged("a, b = 1, 2", "a = 5", body="(a, b)", answer=(5, 2)),
    "nested unpacking": _packaged("(a, (b, *c)) = 1, (2, 3, 4)", body="(a, b, c)", answer=(1, 2, [3, 4])),
    "a chain of names": _packaged("a = b = []", "a.append(1)", body="(b.append(2), a, a is b)", answer=(None, [1, 2], True)),
    "a name bound by a loop": _packaged("for i in range(3): last = i * i", body="(i, last)", answer=(2, 4)),
    "a name bound by with": _packaged("import io\nwith io.StringIO('xy') as f: text = f.read()", body="text", answer="xy"),
    "a walrus": _packaged("total = (part := 3) + 1", body="(total, part)", answer=(4, 3)),
    "an augmented number": _packaged("n = 1", "n += 4", body="n", answer=5),
    "an annotated name": _packaged("limit: int = 3", body="limit", answer=3),
    "statements that share a line": _packaged("a = 1; b = a + 1; c = [a, b]", body="(a, b, c)", answer=(1, 2, [1, 2])),
    "a del and a new value": _packaged("a = 1", "del a", "a = 2", body="a", answer=2),
    # -- state that something else made
    "a value of a class of pydantic": _packaged(
        "from pydantic import BaseModel\nclass In(BaseModel):\n    x: int = 1\n    names: list[str] = []", body="In(x=payload).x", answer=2,
    ),
    "a seed": _packaged("import random", "random.seed(3)", body="0 <= random.random() < 1", answer=True),
    "the precision of decimals": _packaged("from decimal import Decimal, getcontext", "getcontext().prec = 5", body="str(Decimal(1) / 3)", answer="0.33333"),
    "a counter that a function fills": _packaged(
        "from collections import Counter", _COUNT, "words = Counter()", "count(words, 'a b a')", body="dict(words)", answer={"a": 2, "b": 1},
    ),
    "a list that a loop fills": _packaged("names = []", "for c in 'xyz':\n    names.append(c * 2)", body="names", answer=["xx", "yy", "zz"]),
    "a default dict": _packaged("from collections import defaultdict\nd = defaultdict(list)", "d['a'].append(1)", body="(d['a'], d['b'])", answer=([1], [])),
    "an instance that learned": _packaged(_LOOKUP, "lookup = Lookup()", "lookup.learn('a', 1)", body="lookup.known", answer={"a": 1}),
    "an instance with two names": _packaged(_LOOKUP, "one = Lookup()\ntwo = one", "two.learn('a', 1)", body="(one.known, one is two)", answer=({"a": 1}, True)),
    "a list with two names": _packaged("state = {'calls': 0}", "view = state", body="(state.update(calls=1), view)", answer=(None, {"calls": 1})),
    "a list inside of another": _packaged(
        "inner = [1]", "outer = {'a': inner}", "inner.append(2)", body="(inner.append(3), outer)", answer=(None, {"a": [1, 2, 3]}),
    ),
    "a list with itself inside": _packaged("a = []", "a.append(a)", body="(len(a), a[0] is a)", answer=(1, True)),
    "a class attribute that +=": _packaged(_CLASS, "Settings.rounds += 1", body="Settings.rounds", answer=2),
    "a class attribute below an if": _packaged(_CLASS, "if Settings.rounds == 1:\n    Settings.rounds = 7", body="Settings.rounds", answer=7),
    "a class attribute by setattr in a loop": _packaged(
        _CLASS, "for n in ('a', 'b'): setattr(Settings, n, n * 2)", body="(Settings.a, Settings.b)", answer=("aa", "bb"),
    ),
    "a class attribute that a class method sets": _packaged(
        "class S:\n    limit = 1\n    @classmethod\n    def calibrate(cls, n): cls.limit = n\n", "S.calibrate(0.9)", body="S.limit", answer=0.9,
    ),
    "a mutable class attribute": _packaged(_CLASS, "Settings.names.append('x')", body="Settings.names", answer=["x"]),
    "an attribute of a function": _packaged("def f(): return f.calls", "f.calls = 3", body="f()", answer=3),
    "a default that was mutated": _refused("def f(x, seen=[]):\n    seen.append(x)\n    return len(seen)", "f(1)", body="f(2)", reason="(default 0)"),
    "a counter in a closure": _refused(
        "def counting():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n        return n\n    return f", "f = counting()", "f()", body="f()",
        reason="(closure n)",
    ),
    # -- decorators and registries
    "singledispatch": _packaged(_SINGLE, "@clean.register\ndef _(value: int): return 'int'", body="(clean(1), clean('x'))", answer=("int", "other")),
    "singledispatch that was called": _packaged(_SINGLE, "@clean.register(list)\ndef _(value): return 'list'", "clean([])", body="clean([1])", answer="list"),
    "a registry of functions": _packaged(
        "REG = {}\ndef register(f):\n    REG[f.__name__] = f\n    return f", "@register\ndef double(x): return 2 * x",
        body="{k: f(payload) for k, f in REG.items()}", answer={"double": 4},
    ),
    "a registry with names": _packaged(
        "REG = {}\ndef register(name):\n    def inner(f):\n        REG[name] = f\n        return f\n    return inner",
        "@register('x')\ndef double(x): return 2 * x", body="REG['x'](payload)", answer=4,
    ),
    "a registry of subclasses": _packaged(
        "class Base:\n    kinds = {}\n    def __init_subclass__(cls): Base.kinds[cls.__name__] = cls", "class A(Base): pass", body="sorted(Base.kinds)",
        answer=["A"],
    ),
    "a decorator without wraps": _packaged(
        "def twice(f):\n    def g(*a): return 2 * f(*a)\n    return g", "@twice\ndef f(x): return x + 1", body="f(payload)", answer=6,
    ),
    "a decorator that counts": _packaged(
        "import functools\ndef counted(f):\n    @functools.wraps(f)\n    def g(*a):\n        g.calls += 1\n        return f(*a)\n    g.calls = 0\n    return g",
        "@counted\ndef f(x): return x", "f(1), f(2)", body="(f(payload), f.calls)", answer=(2, 3),
    ),
    "a cached function that was called": _packaged(
        "from functools import lru_cache\n@lru_cache(maxsize=2)\ndef f(x): return x * 3", "f(1)", body="f(payload)", answer=6,
    ),
    "a closure out of a function": _packaged("def maker(n):\n    def f(x): return x + n\n    return f", "add = maker(3)", body="add(payload)", answer=5),
    "a class decorator": _packaged("def marked(cls):\n    cls.mark = 1\n    return cls", "@marked\nclass A: pass", body="A.mark", answer=1),
    "a method that was replaced": _packaged("class A:\n    def f(self): return 1", "A.f = lambda self: 2", body="A().f()", answer=2),
    # -- values that are made again
    "the time and an id": _packaged(
        "import uuid, random\nfrom datetime import datetime, timezone", "run = uuid.UUID(int=random.getrandbits(128))\ntrained = datetime.now()",
        body="(run == uuid.UUID(str(run)), trained.year > 2000)", answer=(True, True),
    ),
    "random numbers": _packaged("import random\nweights = [random.random() for _ in range(3)]\nsame = list(weights)", body="weights == same", answer=True),
    "an object that is nothing but itself": _packaged("MISSING = object()", body="{}.get('x', MISSING) is MISSING", answer=True),
    # -- numpy and pandas
    "a numpy scalar": _packaged("import numpy as np\nstd = np.array([1.0, 2.0, 4.0]).std()", body="float(std.round(2))", answer=1.25),
    "a small array": _packaged("import numpy as np\nw = np.array([1.5, 2.5])", body="(w * payload).tolist()", answer=[3.0, 5.0]),
    "an array beside the code": _packaged(
        "import numpy as np\ngrid = np.linspace(0, 1, 1000).reshape(10, 100)", body="(grid.shape, round(float(grid.sum()), 6))", answer=((10, 100), 500.0),
    ),
    "an array with two names": _packaged(
        "import numpy as np\na = np.zeros(3)\nb = a", "a[0] = 1", body="(b.__setitem__(1, 5), a.tolist())", answer=(None, [1.0, 5.0, 0.0]),
    ),
    "a large array": _refused("import numpy as np\nbig = np.random.rand(500, 500)", body="big.sum()", reason='models={"big": big}'),
    "a table": _packaged(
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2], 'b': ['x', None]})", "df['c'] = df['a'] * 2",
        body="df['c'].tolist() + [df['b'].isna().sum().item()]", answer=[2, 4, 1],
    ),
    "an array of objects": _refused("import numpy as np\nwords = np.array(['a', None], dtype=object)", body="len(words)", reason="words"),
    "a column of whole numbers with gaps": _packaged(
        "import pandas as pd\ns = pd.Series([1, 2, 3], dtype='Int64')", "s[1] = pd.NA", body="(s.isna().tolist(), str(s.dtype), int(s.sum()))",
        answer=([False, True, False], "Int64", 4),
    ),
    "a table with gaps and categories": _packaged(
        "import pandas as pd\ndf = pd.DataFrame({'a': pd.array([1, None], dtype='Int64'), 'b': pd.Categorical(['x', 'y'])})",
        "df['c'] = pd.array([True, None], dtype='boolean')", body="(df['a'].isna().tolist(), df['b'].cat.categories.tolist(), df['c'].isna().tolist())",
        answer=([False, True], ["x", "y"], [False, True]),
    ),
    "an array of pandas and indexes": _packaged(
        "import pandas as pd\na = pd.array([1.5, None], dtype='Float64')\ni = pd.Index(['x', 'y'], name='k')\nd = pd.date_range('2020-01-01', periods=3)\nr = pd.RangeIndex(1, 9, 2)",
        body="(a.isna().tolist(), i.name, i.tolist(), d.freqstr, str(d[-1].date()), list(r))",
        answer=([False, True], "k", ["x", "y"], "D", "2020-01-03", [1, 3, 5, 7]),
    ),
    "a flag of a table": _packaged(
        "import pandas as pd\ndf = pd.DataFrame({'a': [1]})", "df.flags.allows_duplicate_labels = False", body="df.flags.allows_duplicate_labels", answer=False,
    ),
    "a polynomial": _packaged("import numpy as np\np = np.poly1d([1, 2, 3])", "p += 1", body="float(p(payload))", answer=12.0),
    "a limit of a reader of csv": _packaged(
        "import csv\ncsv.field_size_limit(77)", body="csv.field_size_limit()", answer=77, undo="csv.field_size_limit(131072)",
    ),
    "a name of a level of logs": _packaged("import logging\nlogging.addLevelName(5, 'SHAPE')", body="logging.getLevelName(5)", answer="SHAPE"),
    # -- names
    "words in annotations": _packaged(
        "from typing import Annotated, Literal\ndef f(device: Literal['cpu', 'cuda'] = 'cpu') -> Annotated[str, 'score']: return device", body="f()",
        answer="cpu",
    ),
    "a type that only checkers import": _packaged(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere import Thing\ndef f(x: 'Thing'): return x", body="f(payload)", answer=2,
    ),
    "a guarded import": _packaged(
        "try:\n    import no_such_module\n    HAS = True\nexcept ImportError:\n    no_such_module = None\n    HAS = False", body="(HAS, no_such_module)",
        answer=(False, None),
    ),
    "open": _packaged("import os", body="open(os.devnull).read()", answer=""),
    "a name that was rebound after the class": Shape(
        ("SIZE = 3", _predicts("(self.size(), SIZE)") + "    def size(self, n=SIZE): return n\n", "SIZE = 5"), answer="(3, 5)",
    ),
    "a page break": _packaged("A = 1\n\x0c\nB = 2", body="(A, B)", answer=(1, 2)),
    "a separator of lines in a text": _packaged("SEPARATOR = 'a\u2028b\x85c'", body="SEPARATOR", answer="a\u2028b\x85c"),
    "a text of several lines": _packaged("TEXT = '''\n  a\n b'''", body="TEXT", answer="\n  a\n b"),
    "an infinity and no number": _packaged("low, nan = float('-inf'), float('nan')", "both = [low, nan]", body="both", answer=[float("-inf"), float("nan")]),
    "an enum and a member": _packaged(
        "import enum\nclass Colour(enum.Enum):\n    RED = 1\n    BLUE = 2", "best = Colour.BLUE", body="(best is Colour.BLUE, best.value)", answer=(True, 2),
    ),
    "a dataclass that changed": _packaged(
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: int\n    y: list = field(default_factory=list)", "a = A(1)",
        "a.y.append(3); a.x = 2", body="(a.x, a.y)", answer=(2, [3]),
    ),
    "a class of attrs": _packaged("import attrs\n@attrs.define\nclass A:\n    x: int = attrs.field(default=3)\na = A(5)", "a.x = 6", body="a.x", answer=6),
    "a named tuple": _packaged(
        "from collections import namedtuple\nPoint = namedtuple('Point', 'x y')", "p = Point(1, 2)._replace(y=5)", body="(p.x, p.y)", answer=(1, 5),
    ),
    "an abstract class and a property": _packaged(
        "from abc import ABC, abstractmethod\nclass A(ABC):\n    @property\n    @abstractmethod\n    def x(self): ...\nclass B(A):\n    @property\n    def x(self): return 4",
        body="B().x", answer=4,
    ),
    "a class with slots": _packaged("class A:\n    __slots__ = ('x',)\n    def __init__(self): self.x = 1", "a = A()", "a.x = 2", body="a.x", answer=2),
    "a context manager": _packaged("from contextlib import contextmanager\n@contextmanager\ndef f(): yield 3", body="f().__enter__()", answer=3),
    "a level of a logger": _packaged("import logging\nlog = logging.getLogger('shape')", "log.setLevel(logging.ERROR)", body="log.level", answer=40),
    "a generator that is half used": _refused("g = (i for i in range(3))", "next(g)", body="next(g)", reason="g"),
    "a patched module": _packaged("import json", "json.shape_marker = 3", body="json.shape_marker", answer=3),
    "a cell that failed in the middle": Shape((_predicts("1"), "1 / 0\n" + _predicts("2")), answer="1"),
    "a variable of this session at import": _refused("import os\nos.environ['SHAPE_KEY'] = 'x'\nKEY = os.environ['SHAPE_KEY']", body="KEY", reason="SHAPE_KEY"),
    "a variable with a default": _refused("import os\nos.environ['SHAPE_KEY'] = 'x'\nKEY = os.environ.get('SHAPE_KEY', 'y')", body="KEY", reason="SHAPE_KEY"),
    # -- what belongs to the process
    "an error state that is kept": _packaged("import numpy as np", "_old = np.seterr(all='raise')", body="np.geterr()['over']", answer="raise"),
    "limits of the interpreter": _packaged(
        "import sys, socket", "sys.setrecursionlimit(4321)\nsocket.setdefaulttimeout(5)", body="(sys.getrecursionlimit(), socket.getdefaulttimeout())",
        answer=(4321, 5.0),
    ),
    "a function that seeds": _packaged(
        "import random\nimport numpy as np\ndef seed_all(n=0):\n    'Seed.'\n    random.seed(n)\n    np.random.seed(n)", "seed_all(3)",
        body="(random.seed(3), random.random() == random.Random(3).random())[1]", answer=True,
    ),
    "a function that seeds and trains": _packaged(
        "import random\nruns = []\ndef train():\n    random.seed(3)\n    runs.append(1)\n    return 1", "model = train()\ntrain()",
        body="(model, 'train' in globals())", answer=(1, True),
    ),
    "random numbers without a seed": _packaged(
        "import random\nimport numpy as np\nfrom random import choice", "choice([1, 2]), np.random.rand()",
        body="(choice([1]), random.choice([1]), np.random.rand(1).shape)", answer=(1, 1, (1,)),
    ),
    "a class that is registered with a library": _packaged(
        "import pandas as pd\n@pd.api.extensions.register_dataframe_accessor('shape_marks')\nclass Marks:\n    def __init__(self, df): self.df = df\n    def n(self): return len(self.df)",
        body="pd.DataFrame({'a': [payload]}).shape_marks.n()", answer=1,
    ),
    "a class that is registered with a base class": _packaged(
        "import collections.abc\nclass Window:\n    def __len__(self): return 1", "collections.abc.Sequence.register(Window)",
        body="isinstance(Window(), collections.abc.Sequence)", answer=True,
    ),
    "a variable that a method reads": _refused(
        "import os\nos.environ['SHAPE_KEY'] = 'x'", body="os.environ['SHAPE_KEY']", reason="P reads SHAPE_KEY: a replica has no SHAPE_KEY",
    ),
    "a variable with a default in a method": _refused(
        "from os import environ, getenv\nenviron.update(SHAPE_KEY='x')", body="(environ.get('SHAPE_OTHER', 'y'), getenv('SHAPE_KEY'))",
        reason="P reads SHAPE_KEY",
    ),
    # -- the order of sets, which differs in each process
    "labels in the order of a set": _packaged(
        "class Encoder:\n    def __init__(self, words): self.index = {w: i for i, w in enumerate(set(words))}",
        "encoder = Encoder(['yes', 'no', 'maybe', 'never', 'always'])", body="sorted(encoder.index.values())", answer=[0, 1, 2, 3, 4],
    ),
    "a default in the order of a set": _refused(
        "def f(names=list({'yes', 'no', 'maybe', 'never', 'always'})): return names", body="f()", reason="f (default 0)",
    ),
    # -- arrays
    "two arrays of one memory": _packaged(
        "import numpy as np\na = np.zeros(3)\nb = a[:2]", body="(b.__setitem__(0, 7), a.tolist())[1]", answer=[7.0, 0.0, 0.0],
    ),
    "a read-only array by columns": _packaged(
        "import numpy as np\na = np.asfortranarray(np.arange(6.0).reshape(2, 3))\na.flags.writeable = False",
        body="(a.flags.writeable, a.flags.f_contiguous, a.ravel(order='K').tolist())", answer=(False, True, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
    ),
    "times of numpy": _packaged(
        "import numpy as np\nstart, step = np.datetime64('2020-01-01T00:00', 'm'), np.timedelta64(90, 's')", "start += step", body="(str(start), str(step))",
        answer=("2020-01-01T00:01:30", "90 seconds"),
    ),
    # -- what is held weakly, and objects with an opinion
    "values in a weak dictionary": _refused(
        "from weakref import WeakKeyDictionary\nclass Field:\n    def __init__(self): self.held = WeakKeyDictionary()\n    def __get__(self, owner, kind=None): return self.held[owner]\n    def __set__(self, owner, value): self.held[owner] = value\nclass Config:\n    rate = Field()",
        "config = Config()\nconfig.rate = 5", body="config.rate", reason="Config.rate.held",
    ),
    "a weak reference": _packaged("import weakref\nclass A: rate = 1\na = A()\nr = weakref.ref(a)", "a.rate = 3", body="r().rate", answer=3),
    "a default of a context variable": _packaged(
        "from contextvars import ContextVar\nv = ContextVar('v', default={'a': 1})", "v.get()['a'] = 2", body="v.get()", answer={"a": 2},
    ),
    "an object whose attributes raise": _packaged(
        "class Strict:\n    def __getattr__(self, name): raise RuntimeError(name)\nclass Meta(type):\n    def __getattr__(cls, name): raise RuntimeError(name)\nclass Model(metaclass=Meta): rate = 2",
        "strict = Strict()", "strict.rate = 3", body="(strict.rate, Model.rate)", answer=(3, 2),
    ),
    "a value of a context variable": _packaged("from contextvars import ContextVar\nv = ContextVar('v', default=1)", "v.set(5)", body="v.get()", answer=5),
    "a copied context": _refused(
        "from contextvars import ContextVar, copy_context\nv = ContextVar('v', default=1)", "v.set(5)\nctx = copy_context()\nv.set(7)", body="ctx.run(v.get)",
        reason="ctx[v]",
    ),
    # -- answers that a cache keeps
    "answers from before a name was bound again": _refused(
        _KEPT, "f(2)", "rate = 3", body="f(payload)", reason="f keeps answers from before rate changed, which a package does not have: run f.cache_clear()",
    ),
    "answers from before a helper was defined again": _refused(
        "from functools import lru_cache\ndef g(x): return x\n@lru_cache\ndef f(x): return g(x)", "f(2)", "def g(x): return -x", body="f(payload)",
        reason="f keeps answers from before g changed",
    ),
    "answers from before a table changed": _refused(
        "from functools import cache\ntable = {2: 1}\n@cache\ndef f(x): return table[x]", "f(2)", "table[2] = 5", body="f(payload)",
        reason="f keeps answers from before table changed",
    ),
    "answers of a method from before a name was bound again": _refused(_KEPT_METHOD, "A.f(2)", "rate = 3", body="A.f(payload)", reason="run A.f.cache_clear()"),
    "answers from before a function set a global": _refused(
        f"def tune(r):\n    global rate\n    rate = r\n{_KEPT}", "f(2)", "tune(5)", body="f(payload)", reason="before rate changed",
    ),
    "answers from before a method changed an object": _refused(
        "from functools import cache\nclass C:\n    rate = 2\n    def tune(self, n): self.rate = n\nc = C()\n@cache\ndef f(x): return x * c.rate", "f(2)",
        "c.tune(9)", body="f(payload)", reason="before c changed",
    ),
    "answers of what did not change": _packaged(_KEPT, "f(2)", "rate = 2", body="f(payload)", answer=4),
    "answers that were cleared": _packaged(_KEPT, "f(2)", "rate = 3", "f.cache_clear()", body="f(payload)", answer=6),
    # -- settings of the process that act on code which does not import their modules
    "how a class is copied": _packaged(
        "import copyreg, copy\nclass A:\n    def __init__(self, x): self.x = x", "def more(a): return A, (a.x + 1,)", "copyreg.pickle(A, more)",
        body="copy.copy(A(payload)).x", answer=3,
    ),
    "how a class is copied, by a name": _packaged(
        "from copyreg import pickle\nimport copy\nclass A:\n    def __init__(self, x): self.x = x", "def more(a): return A, (a.x + 1,)", "pickle(A, more)",
        body="copy.copy(A(payload)).x", answer=3,
    ),
    "what a codec does with errors": _packaged(
        "import codecs\ncodecs.register_error('own', lambda e: ('?', e.end))", body="'\\xe9'.encode('ascii', 'own')", answer=b"?",
    ),
    "a warning that is an error": _packaged(
        "import warnings\nwarnings.filterwarnings('error', message='own')",
        "def f():\n    from warnings import warn\n    try: return warn('own')\n    except UserWarning: return 'raised'", body="f()", answer="raised",
    ),
    "a time zone": _refused(
        "import os, time\nfrom datetime import datetime\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()", body="datetime.fromtimestamp(0).hour",
        reason="the time zone is 'JST/JST -32400' here, and 'UTC/UTC 0' in the package: list TZ under `env`",
        undo="import os, time; del os.environ['TZ']; time.tzset()",
    ),
    "a handler of a signal": _refused(
        "import signal\ndef late(number, frame): raise TimeoutError", "_ = signal.signal(signal.SIGALRM, late)", body="1",
        reason="the set of signal handlers is 'SIGALRM: late' here", undo="signal.signal(signal.SIGALRM, signal.SIG_DFL)",
    ),
    "settings in a function that does more": _refused(
        "import sys, warnings\nfrom decimal import Decimal, getcontext\ndef begin():\n    sys.setrecursionlimit(4321)\n    warnings.simplefilter('error')\n    getcontext().prec = 5\n    return 1",
        "ready = begin()", body="str(Decimal(ready) / 3)", reason="the recursion limit is '4321' here",
        undo="sys.setrecursionlimit(3000); warnings.simplefilter('default'); getcontext().prec = 28",
    ),
    "a name in builtins": _refused(
        "import builtins", "builtins.shout = lambda text: text + '!'", body="shout('a')", reason="put shout into builtins", undo="del builtins.shout",
    ),
    # -- what a session puts into libraries
    "a method that a function gave to a library": _packaged(
        "import fractions\ndef patch():\n    fractions.Fraction.double_ = lambda self: self * 2", "patch()", body="str(fractions.Fraction(1, 2).double_())",
        answer="1", undo="del fractions.Fraction.double_",
    ),
    "a method of a library in a function that imports it": _packaged(
        "def patch():\n    import fractions as f\n    f.Fraction.double_ = lambda self: self * 2\npatch()", "from fractions import Fraction",
        body="str(Fraction(1, 2).double_())", answer="1", undo="del Fraction.double_",
    ),
    "a method of a library in a function that does more": _refused(
        "import fractions\ndone = []\ndef patch():\n    done.append(1)\n    print('ready')\n    fractions.Fraction.double_ = lambda self: self * 2", "patch()",
        body="str(fractions.Fraction(1, 2).double_())", reason="fractions.Fraction.double_ is a function <lambda> here", undo="del fractions.Fraction.double_",
    ),
    "a method of a library by a decorator": _refused(
        "import fractions\ndef of(cls):\n    def give(f): setattr(cls, f.__name__, f)\n    return give",
        "@of(fractions.Fraction)\ndef triple_(self): return self * 3", body="str(fractions.Fraction(1, 3).triple_())", reason="fractions.Fraction.triple_",
        undo="del fractions.Fraction.triple_",
    ),
    "a setting of a library that another one uses": _packaged(
        "import numpy as np\nimport pandas as pd", "np.seterr(all='raise')", body="pd.DataFrame.__module__ and __import__('numpy').geterr()['over']",
        answer="raise", undo="np.seterr(all='warn')",
    ),
    "an import that only registers": _packaged(
        "from sklearn.experimental import enable_iterative_imputer\nfrom sklearn.impute import IterativeImputer", body="IterativeImputer.__name__",
        answer="IterativeImputer",
    ),
    "a library that puts a method into another one": _packaged(
        "import pandas as pd\nfrom tqdm import tqdm\ntqdm.pandas(disable=True)", body="pd.Series([payload]).progress_apply(lambda x: x + 1).tolist()",
        answer=[3],
    ),
    # -- files and places
    "a file that predict reads": _packaged(
        "from pathlib import Path\nPath('shape-labels.txt').write_text('a b')", body="open('shape-labels.txt').read().split()", answer=["a", "b"],
    ),
    "a file below a folder that the class finds": _packaged(
        "from pathlib import Path\nPath('shape-data').mkdir(exist_ok=True)\nPath('shape-data/a.json').write_text('[1]')",
        "try:\n    HERE = Path(__file__).parent\nexcept NameError:\n    HERE = Path.cwd()", "DATA = HERE / 'shape-data'", body="(DATA / 'a.json').read_text()",
        answer="[1]",
    ),
    "a file that is too large": _refused(
        "from pathlib import Path\nPath('shape-big.bin').write_bytes(bytes(2 << 20))", body="len(Path('shape-big.bin').read_bytes())",
        reason="it reads shape-big.bin of this machine, and a package takes files of at most 1 MiB",
    ),
    "a folder above that of the class": _refused(
        "from pathlib import Path\ntry:\n    ROOT = Path(__file__).resolve().parent.parent\nexcept NameError:\n    ROOT = Path.cwd().parent",
        body="(ROOT / 'x').name", reason="ROOT is made of the file, the folder or the machine",
    ),
    "a pickle of an object of the session": _refused(
        "import pickle\nclass A: x = 2\nkept = pickle.dumps(A())", body="pickle.loads(kept).x", reason="uses 'kept', a pickle of objects of this session",
    ),
    "variables that a loop sets": _refused(
        "import os\nfor key in ('SHAPE_A', 'SHAPE_B'): os.environ[key] = '1'", body="[os.environ.get(key) for key in ('SHAPE_A', 'SHAPE_B')]",
        reason="a replica has no SHAPE_A", undo="del os.environ['SHAPE_A'], os.environ['SHAPE_B']",
    ),
    "a module that is imported by its name": _packaged("from importlib import import_module", body="import_module('colorsys').__name__", answer="colorsys"),
    "a filter of a logger": _packaged(
        "import logging\nclass Quiet(logging.Filter):\n    def filter(self, record): return False", "log = logging.getLogger('shape-filter')",
        "log.addFilter(Quiet())", body="len(log.filters)", answer=1,
    ),
}  # fmt: skip
