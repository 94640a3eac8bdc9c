"""Sessions that hypothesis makes up: assignments, decorators, inheritance, closures and mutation."""

from __future__ import annotations

from hypothesis import strategies as st

PRELUDE = """
import functools
from collections import Counter, defaultdict, deque, OrderedDict
from dataclasses import dataclass, field
import enum

REGISTRY = {}
CALLS = []
def register(f):
    REGISTRY[f.__name__] = f
    return f
def bare(f):
    def g(*a):
        return f(*a) + 1
    return g
def wrapped(f):
    @functools.wraps(f)
    def g(*a):
        g.calls += 1
        return f(*a)
    g.calls = 0
    return g
def grow(values, item):
    values.append(item)
def put(values, key, item):
    values[key] = item
def marked(cls):
    cls.mark = getattr(cls, 'mark', 0) + 1
    return cls
def maker(n):
    def inner(x):
        return x + n
    return inner
class Base:
    kinds = {}
    limit = 1
    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        Base.kinds[cls.__name__] = cls
    def size(self):
        return self.limit
    @classmethod
    def calibrate(cls, n):
        cls.limit = n
class Box:
    def __init__(self):
        self.items = []
    def put(self, x):
        self.items.append(x)
"""

FIRST = """
n1, n2, n3 = 1, 2, 3
l1, l2 = [1], [2]
d1, d2 = {}, {'a': 1}
b1, b2 = Box(), Box()
def f1(x): return x
def f2(x): return x + n1
def f3(x): return len(l1)
class C1(Base): pass
class C2: limit = 2
"""

_NUMBER = st.integers(0, 9)
_F = st.sampled_from(["f1", "f2", "f3"])
_C = st.sampled_from(["C1", "C2"])
_L = st.sampled_from(["l1", "l2"])
_D = st.sampled_from(["d1", "d2"])
_N = st.sampled_from(["n1", "n2", "n3"])
_B = st.sampled_from(["b1", "b2"])


def _of(template: str, **parts: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    return st.fixed_dictionaries(parts).map(lambda values: template.format(**values))


_DECORATOR = st.sampled_from(
    ["", "@register\n", "@bare\n", "@wrapped\n", "@functools.lru_cache\n", "@register\n@wrapped\n"]
)
_SIMPLE = [
    _of("{n} = {k}", n=_N, k=_NUMBER),
    _of("{n}, {m} = {k}, {j}", n=_N, m=_N, k=_NUMBER, j=_NUMBER),
    _of("{n} = {m} = {k}", n=_N, m=_N, k=_NUMBER),
    _of("{n} += {k}", n=_N, k=_NUMBER),
    _of("for i in range({k}): {n} = i", n=_N, k=_NUMBER),
    _of("{a} = [{k}]", a=_L, k=_NUMBER),
    _of("{a} = {b}", a=_L, b=_L),
    _of("{a}.append({k})", a=_L, k=_NUMBER),
    _of("grow({a}, {k})", a=_L, k=_NUMBER),
    _of("{a} += [{b}]", a=_L, b=_N),
    _of("{d} = {{'a': {k}}}", d=_D, k=_NUMBER),
    _of("{d} = Counter('abca')", d=_D),
    _of("{d} = defaultdict(list)", d=_D),
    _of("{d} = OrderedDict(x={k})", d=_D, k=_NUMBER),
    _of("{d}['{k}'] = {n}", d=_D, k=_NUMBER, n=_N),
    _of("put({d}, '{k}', {a})", d=_D, k=_NUMBER, a=_L),
    _of("put({d}, 'f', {f})", d=_D, f=_F),
    _of("del {d}['a']", d=_D),
    _of("{b} = Box()", b=_B),
    _of("{b} = {c}", b=_B, c=_B),
    _of("{b}.put({k})", b=_B, k=_NUMBER),
    _of("{b}.extra = {a}", b=_B, a=_L),
]
_FUNCTIONS = [
    _of("{d}def {f}(x, y={k}):\n    return x + y + {n}", d=_DECORATOR, f=_F, k=_NUMBER, n=_N),
    _of("{d}def {f}(x, y={n}):\n    return x * y", d=_DECORATOR, f=_F, n=_N),
    _of("def {f}(x, seen=[{k}]):\n    seen.append(x)\n    return len(seen)", f=_F, k=_NUMBER),
    _of("{f}(1)", f=_F),
    _of("{f} = maker({k})", f=_F, k=_NUMBER),
    _of("{f} = lambda x: x - {n}", f=_F, n=_N),
    _of("{f} = functools.partial({g}, 1)", f=_F, g=_F),
    _of("{f} = {g}", f=_F, g=_F),
    _of("{f}.tag = {k}", f=_F, k=_NUMBER),
]
_CLASSES = [
    _of("class {c}(Base):\n    limit = {k}", c=_C, k=_NUMBER),
    _of("@marked\nclass {c}:\n    limit = {n}\n    kinds = {a}", c=_C, n=_N, a=_L),
    _of("@dataclass\nclass {c}:\n    limit: int = {k}\n    more: list = field(default_factory=list)",
        c=_C, k=_NUMBER),
    _of("class {c}(enum.Enum):\n    limit = {k}", c=_C, k=_NUMBER),
    _of("{c}.limit = {k}", c=_C, k=_NUMBER),
    _of("{c}.limit += {k}", c=_C, k=_NUMBER),
    _of("Base.calibrate({k})", k=_NUMBER),
    _of("{c}.calibrate({k})", c=_C, k=_NUMBER),
    _of("setattr({c}, 'added', {a})", c=_C, a=_L),
    _of("{c}.method = {f}", c=_C, f=_F),
    _of("1 / 0\n{n} = {k}", n=_N, k=_NUMBER),
    _of("if {n} > 4:\n    {n} = {k}\n    {c}.limit = {k}", n=_N, k=_NUMBER, c=_C),
    _of("try:\n    {f}(1)\nexcept Exception:\n    {n} = {k}", f=_F, n=_N, k=_NUMBER),
]  # fmt: skip
STATEMENTS = st.one_of(*_SIMPLE, *_FUNCTIONS, *_CLASSES)

OBSERVED = [
    "{n}", "{a}", "len({a})", "{a}.append(1)", "list({d}.items())", "{d}.update(z=1)", "{f}(2)",
    "getattr({f}, 'tag', None)", "getattr({f}, 'calls', None)", "{c}.limit", "{c}.__mro__[1].__name__",
    "getattr({c}, 'added', None)", "getattr({c}, 'mark', None)", "{c}().limit", "sorted(Base.kinds)",
    "sorted(REGISTRY)", "{b}.items", "{b}.put(1)", "getattr({b}, 'extra', None)", "Base.limit",
    "{c}.kinds", "list({c})", "{d}['0']", "{d}['f'](1)", "REGISTRY['f1'](1)", "{c}.method(1)",
]  # fmt: skip
_EACH = st.sampled_from(OBSERVED).flatmap(
    lambda text: _of(text, n=_N, a=_L, d=_D, f=_F, c=_C, b=_B)
)


@st.composite
def sessions(draw: st.DrawFn) -> list[str]:
    """The cells of a session, with a predictor that looks at what they made."""
    cells = [PRELUDE, FIRST, *draw(st.lists(STATEMENTS, min_size=2, max_size=14))]
    looks = draw(st.lists(_EACH, min_size=1, max_size=6))
    defaults = draw(st.lists(st.one_of(_N, _L), max_size=1))
    signature = "".join(f", given={each}" for each in defaults)
    lines = "\n".join(f"        out.append(tried(lambda: {each}))" for each in looks)
    predictor = (
        "def tried(look):\n    try:\n        return repr(look())\n"
        "    except Exception as error:\n        return type(error).__name__\n"
        f"class P:\n    def predict(self, payload{signature}):\n        out = []\n{lines}\n"
        f"{'        out.append(repr(given))' if defaults else ''}\n        return out\n"
    )
    place = draw(st.integers(2, len(cells)))
    return [*cells[:place], predictor, *cells[place:]]
