"""Small sessions whose predictor answers alike when it is packaged: by name, the cells and what it returns."""

from __future__ import annotations

import sys

# ruff: noqa: E501 - a cell is one text

ALIKE: dict[str, tuple[list[str], str | None]] = {
    "typeddict": (["from typing import TypedDict\nclass T(TypedDict):\n    x: int"], "T(x=1)"),
    "protocol": (
        [
            "from typing import Protocol, Generic, TypeVar\nT=TypeVar('T')\nclass A(Generic[T]):\n    x: T\nclass Q(Protocol):\n    def f(self): ..."
        ],
        "(A[int], Q.__name__)[1]",
    ),
    "newtype": (["from typing import NewType\nId=NewType('Id', int)"], "Id(3)"),
    "cached_property": (
        [
            "from functools import cached_property\nclass A:\n    @cached_property\n    def x(self): return 3\na=A()",
            "a.x",
        ],
        "a.x",
    ),
    "threadlock": (
        ["import threading\nlock=threading.Lock()\nlocal=threading.local()"],
        "lock.locked()",
    ),
    "executor": (
        ["from concurrent.futures import ThreadPoolExecutor\npool=ThreadPoolExecutor(2)"],
        "pool._max_workers",
    ),
    "requests session": (
        ["import requests\ns=requests.Session()\ns.headers['a']='b'"],
        "s.headers['a']",
    ),
    "logger name": (["import logging\nlog=logging.getLogger(__name__)"], "log.level"),
    "logger fmt": (
        [
            "import logging\nlog=logging.getLogger('q1')\nh=logging.StreamHandler()\nlog.addHandler(h)"
        ],
        "len(log.handlers)",
    ),
    "regex dict": (
        ["import re\nR={'a':re.compile('x')}", "R['b']=re.compile('y', re.I)"],
        "sorted(R)",
    ),
    "partial method": (
        [
            "from functools import partialmethod\nclass A:\n    def f(self,n): return n\n    g=partialmethod(f,3)"
        ],
        "A().g()",
    ),
    "total ordering": (
        [
            "from functools import total_ordering\n@total_ordering\nclass A:\n    def __init__(s,x): s.x=x\n    def __lt__(s,o): return s.x<o.x\n    def __eq__(s,o): return s.x==o.x"
        ],
        "A(1)>=A(0)",
    ),
    "operator": (
        [
            "from operator import itemgetter, attrgetter, methodcaller\ng=itemgetter(0)\nm=methodcaller('upper')"
        ],
        "g(['a'])+m('b')",
    ),
    "random obj": (["import random\nrng=random.Random(3)", "rng.random()"], "rng.random()"),
    "nprng": (
        ["import numpy as np\nrng=np.random.default_rng(3)", "rng.random()"],
        "float(rng.random())",
    ),
    "datetime tz": (
        ["from datetime import datetime, timezone\nt=datetime.now(timezone.utc)"],
        "t.isoformat()",
    ),
    "zoneinfo": (
        [
            "from zoneinfo import ZoneInfo\nfrom datetime import datetime\nt=datetime.now(ZoneInfo('Europe/Berlin'))"
        ],
        "t.isoformat()",
    ),
    "time": (["import time\nstart=time.time()"], "start"),
    "uuid str in class": (["import uuid\nclass A:\n    id=uuid.uuid4().hex"], "A.id"),
    "class attr of root": (
        ["class P:\n    n=0\n    def predict(self,p): return P.n", "P.n+=3"],
        None,
    ),
    "metaclass": (
        [
            "class M(type):\n    reg=[]\n    def __new__(m,n,b,d):\n        c=super().__new__(m,n,b,d); m.reg.append(n); return c\nclass A(metaclass=M): pass\nclass B(metaclass=M): pass"
        ],
        "M.reg",
    ),
    "subclasses()": (
        ["class Base: pass\nclass A(Base): pass"],
        "[c.__name__ for c in Base.__subclasses__()]",
    ),
    "globals()": (["x=3"], "globals()['x']"),
    "eval": (["x=3"], "eval('x')"),
    "nested func global": (["def f():\n    global cnt\n    cnt = 1\nf()"], "cnt"),
    "global counter": (
        ["cnt=0\ndef f():\n    global cnt\n    cnt += 1\n    return cnt", "f()", "f()"],
        "f()",
    ),
    "lambda default loop": (["fs=[lambda x,i=i: x+i for i in range(3)]"], "[f(1) for f in fs]"),
    "lambda late closure": (["fs=[lambda x: x+i for i in range(3)]"], "[f(1) for f in fs]"),
    "dict of lambdas": (["ops={'a': lambda x: x+1}"], "ops['a'](1)"),
    "dict of lambdas grown": (
        ["ops={'a': lambda x: x+1}", "ops['b']=lambda x: x*2"],
        "ops['b'](3)",
    ),
    "monkeypatch instance": (["class A: pass\na=A()", "a.f=lambda: 4"], "a.f()"),
    "del class attr": (["class A:\n    x=1\n    y=2", "del A.x"], "hasattr(A,'x')"),
    "bound method": (
        [
            "class A:\n    def __init__(s): s.n=1\n    def f(s): s.n+=1; return s.n\na=A()\ng=a.f",
            "g()",
        ],
        "g()",
    ),
    "swap": (["a=[1]\nb=[2]", "a,b=b,a"], "(a,b)"),
    "star import": (["from math import *"], "floor(pi)"),
    "reimport other": (["from math import floor as f", "from math import ceil as f"], "f(1.2)"),
    "redefined base": (
        ["class A:\n    x=1", "class B(A): pass", "class A:\n    x=2"],
        "(B.x, A.x, issubclass(B,A))",
    ),
    "old instance": (
        ["class A:\n    def f(s): return 1\na=A()", "class A:\n    def f(s): return 2"],
        "(a.f(), A().f(), isinstance(a,A))",
    ),
    "old function in list": (["def f(): return 1\nL=[f]", "def f(): return 2"], "(L[0](), f())"),
    "property setter": (
        [
            "class A:\n    def __init__(s): s._x=1\n    @property\n    def x(s): return s._x\n    @x.setter\n    def x(s,v): s._x=v*2\na=A()",
            "a.x=5",
        ],
        "a.x",
    ),
    "try import alias": (
        ["try:\n    import orjson as json\nexcept ImportError:\n    import json"],
        "json.loads('1')",
    ),
    "conditional def": (
        [
            "import sys\nif sys.version_info > (3,):\n    def f(): return 1\nelse:\n    def f(): return 2"
        ],
        "f()",
    ),
    "for-else/while": (["n=0\nwhile n<5:\n    n+=1"], "n"),
    "comprehension side": (["seen=[]\n[seen.append(i) for i in range(3)]"], "seen"),
    "exec": (["exec('z=4')"], "z"),
    "match": (["v=3\nmatch v:\n    case int(n): kind='int'"], "(kind,n)"),
    "nonlocal decorator w args": (
        [
            "import functools, time\ndef retry(n):\n    def deco(f):\n        @functools.wraps(f)\n        def g(*a):\n            return f(*a), n\n        return g\n    return deco\n@retry(3)\ndef f(x): return x"
        ],
        "f(1)",
    ),
    "class deco registry": (
        [
            "R={}\ndef reg(c):\n    R[c.__name__]=c\n    return c\n@reg\nclass A: pass\n@reg\nclass B: pass"
        ],
        "sorted(R)",
    ),
    "frozen dc": (
        [
            "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n    x: int = 1\nc=C(5)\nS={c, C(6)}"
        ],
        "(c.x, sorted(k.x for k in S))",
    ),
    "slots dc": (
        [
            "from dataclasses import dataclass\n@dataclass(slots=True)\nclass C:\n    x: int = 1\nc=C(5)",
            "c.x=7",
        ],
        "c.x",
    ),
    "enum auto": (
        ["import enum\nclass E(enum.Flag):\n    A=enum.auto()\n    B=enum.auto()\nx=E.A|E.B"],
        "x.value",
    ),
    "sys.path": (["import sys\nsys.path.append('/nowhere')"], "1"),
    "warnings": (
        ["import warnings\nwarnings.filterwarnings('ignore')"],
        "warnings.catch_warnings is not None",
    ),
    "defaultdict lambda": (
        ["from collections import defaultdict\nd=defaultdict(lambda: 5)", "d['x']+=1"],
        "(d['x'],d['y'])",
    ),
    "heap": (["import heapq\nh=[]\nfor x in (3,1,2): heapq.heappush(h,x)"], "heapq.heappop(h)"),
    "deque": (["from collections import deque\nq=deque(maxlen=2)", "q.extend([1,2,3])"], "list(q)"),
    "bytearray": (["b=bytearray(b'a')", "b+=b'c'"], "bytes(b)"),
    "memoryview": (["m=memoryview(b'abc')"], "m[0]"),
    "np dtype": (["import numpy as np\nD=np.dtype('f4')"], "D.itemsize"),
    "np vectorize": (["import numpy as np\nf=np.vectorize(lambda x: x+1)"], "f([1]).tolist()"),
    "timestamp": (["import pandas as pd\nt=pd.Timestamp('2020-01-01')"], "t.year"),
    "big constant": (["T=tuple(range(500))"], "len(T)"),
    "dotted import as": (["import os.path as p"], "p.basename('a/b')"),
    "string annotations P": (
        ["class P:\n    def predict(self, payload: 'Undefined') -> 'Other': return 1"],
        None,
    ),
    "abc register": (
        ["from abc import ABC\nclass A(ABC): pass\nclass B: pass", "A.register(B)"],
        "issubclass(B,A)",
    ),
    "init_subclass kw": (
        [
            "class B:\n    def __init_subclass__(cls, tag=None): cls.tag=tag\nclass C(B, tag='x'): pass"
        ],
        "C.tag",
    ),
    "super closure": (
        ["class A:\n    def f(s): return 1\nclass B(A):\n    def f(s): return super().f()+1"],
        "B().f()",
    ),
    "class cell __class__": (["class A:\n    def f(s): return __class__.__name__"], "A().f()"),
    "private names": (["class A:\n    __x=1\n    def f(s): return s.__x", "A._A__x=5"], "A().f()"),
    "ellipsis arg": (["def f(x=...): return x is ..."], "f()"),
    "assert debug": (["def f():\n    assert True\n    return __debug__"], "f()"),
    "tuple w list": (["t=([],)", "t[0].append(1)"], "t"),
    "ordered": (
        ["from collections import OrderedDict\no=OrderedDict(a=1)", "o['b']=2\no.move_to_end('a')"],
        "list(o)",
    ),
    "chainmap": (
        ["from collections import ChainMap\nc=ChainMap({}, {'a':1})", "c['b']=2"],
        "dict(c)",
    ),
    "contextvar": (["from contextvars import ContextVar\nv=ContextVar('v', default=3)"], "v.get()"),
    "contextvar set": (
        ["from contextvars import ContextVar\nv=ContextVar('v', default=3)", "v.set(9)"],
        "v.get()",
    ),
    "weakref": (["import weakref\nclass A: pass\na=A()\nr=weakref.ref(a)"], "r() is a"),
    "singledispatchmethod": (
        [
            "from functools import singledispatchmethod\nclass A:\n    @singledispatchmethod\n    def f(s,x): return 'o'\n    @f.register\n    def _(s,x:int): return 'i'"
        ],
        "A().f(1)",
    ),
    "namespace": (
        ["from types import SimpleNamespace\ncfg=SimpleNamespace(a=1)", "cfg.b=2"],
        "cfg.b",
    ),
    "mappingproxy": (["from types import MappingProxyType\nM=MappingProxyType({'a':1})"], "M['a']"),
    "exception class": (["class E(Exception):\n    code=3\ne=E('x')"], "(e.args,e.code)"),
    "cyclic": (
        [
            "class N:\n    def __init__(s): s.kids=[]\n        \na=N(); b=N()",
            "a.kids.append(b); b.up=a",
        ],
        "a.kids[0].up is a",
    ),
    "pool that was used": (
        [
            "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)",
            "list(pool.map(str, [1]))",
        ],
        "list(pool.map(str, [2]))",
    ),
    "queue": (["import queue\nq = queue.Queue()", "q.put(3)"], "q.get_nowait()"),
    "client of a service": (
        [
            "import boto3\ns3 = boto3.client('s3', region_name='eu-west-1', aws_access_key_id='a', aws_secret_access_key='b')"
        ],
        "s3.meta.region_name",
    ),
    "lock in an object": (
        [
            "import threading\nclass C:\n    def __init__(s):\n        s.lock = threading.Lock()\n        s.d = {}\nc = C()",
            "c.d['a'] = 1",
        ],
        "c.d",
    ),
    "estimator": (
        [
            "from sklearn.base import BaseEstimator\nclass T(BaseEstimator):\n    def __init__(self, k=1): self.k = k\n    def f(self): return self.k"
        ],
        "T(3).f()",
    ),
    "model of pydantic": (
        [
            "from pydantic import BaseModel, field_validator\nclass In(BaseModel):\n    x: int = 1\n    @field_validator('x')\n    def v(cls, x): return x + 1",
            "i = In(x=3)\ni.x = 9",
        ],
        "(In(x=payload).x, i.x)",
    ),
    "module doc": (["'''Doc.'''\nclass P:\n    def predict(self,p): return 1"], None),
    "shared default": (
        ["L=[]\ndef f(x, acc=L): acc.append(x); return len(acc)", "f(1)"],
        "(f(2), L)",
    ),
    "shared class attr": (
        ["L=[]\nclass A:\n    items=L", "L.append(3)"],
        "(A.items is L, A.items)",
    ),
    "two makers": (
        [
            "def make():\n    d=[]\n    def f(x): d.append(x); return d\n    return f\nf=make()\ng=f\nh=make()"
        ],
        "(f(1), g(2), h(3))",
    ),
    "instance of local class": (
        ["def mk():\n    class A:\n        x=1\n    return A\nA=mk()\na=A()"],
        "a.x",
    ),
    "inheritance from installed": (
        ["from collections import UserDict\nclass D(UserDict): pass\nd=D(a=1)", "d['b']=2"],
        "dict(d)",
    ),
    "dict subclass": (["class D(dict): pass\nd=D()", "d['b']=2"], "dict(d)"),
    "list subclass": (["class L(list): pass\nl=L()", "l.append(4)"], "list(l)"),
    "int subclass": (["class I(int): pass\ni=I(3)"], "i+1"),
    "str enum": (["import enum\nclass E(str, enum.Enum):\n    A='a'"], "E('a').value"),
    "module alias change": (["import math\nm=math"], "m.floor(1.5)"),
    "shadow builtin": (["def len(x): return 42"], "len([])"),
    "shadow builtin val": (["max=3"], "max"),
    "del builtin shadow": (["max=3", "del max"], "max(1,2)"),
    "global in class body": (["x=1\nclass A:\n    global y\n    y=2"], "y"),
    "async": (["import asyncio\nasync def f(): return 3"], "asyncio.run(f())"),
    "walrus in comp": (["vals=[y:=1, y**2]"], "(vals,y)"),
    "nested tuple assign w/ star": (["a,*b=[1,2,3]"], "(a,b)"),
    "aug attr chain": (["class A:\n    class B:\n        n=1\nA.B.n+=1"], "A.B.n"),
    "setattr inst": (["class A: pass\na=A()\nfor k in 'xy': setattr(a,k,k)"], "(a.x,a.y)"),
    "object dict update": (["class A: pass\na=A()", "a.__dict__.update(z=3)"], "a.z"),
    "type()": (["A=type('A',(),{'x':3})"], "A.x"),
    "make_dataclass": (
        ["from dataclasses import make_dataclass\nA=make_dataclass('A',['x'])"],
        "A(1).x",
    ),
    "NamedTuple cls": (
        ["from typing import NamedTuple\nclass N(NamedTuple):\n    x: int = 2"],
        "N().x",
    ),
    "func attr dict": (["def f(): return f.cache\nf.cache={}", "f.cache['a']=1"], "f()"),
    "defaults changed": (["def f(x=1): return x", "f.__defaults__=(5,)"], "f()"),
    "kwdefaults changed": (["def f(*,x=1): return x", "f.__kwdefaults__['x']=7"], "f()"),
    "annotations changed": (
        ["def f(x: int): return 1", "f.__annotations__['x']=str"],
        "f.__annotations__['x'].__name__",
    ),
    "doc changed": (["def f():\n    'a'", "f.__doc__='b'"], "f.__doc__"),
    "class doc changed": (["class A:\n    'a'", "A.__doc__='b'"], "A.__doc__"),
    "bases changed": (
        ["class A:\n    x=1\nclass B:\n    x=2\nclass C(A): pass", "C.__bases__=(B,)"],
        "C.x",
    ),
    "inst class changed": (["class A:\n    x=1\nclass B:\n    x=2\na=A()", "a.__class__=B"], "a.x"),
    "method from other class": (
        ["class A:\n    def f(s): return 1\nclass B:\n    f=A.f"],
        "B().f()",
    ),
    "lru cache shared": (
        ["from functools import cache\n@cache\ndef f(): return []", "f().append(1)"],
        "len(f())",
    ),
    "generator func": (["def g():\n    yield 1"], "list(g())"),
    "partial w list": (
        [
            "from functools import partial\nL=[]\ndef f(l,x): l.append(x); return l\np=partial(f,L)",
            "p(1)",
        ],
        "(p(2), L)",
    ),
    "dict views": (["d={'a':1}\nk=d.keys()", "d['b']=2"], "sorted(k)"),
    "re flags": (["import re\nr=re.compile('a', re.I)"], "bool(r.match('A'))"),
    "complex": (["z=1+2j\nw=z*2"], "w"),
    "neg zero": (["z=-0.0"], "str(z)"),
    "bool/int dict": (["d={1:'a'}\nd[True]='b'"], "d"),
    "big int": (["n=2**200"], "n"),
    "null text": (["s='a\\0b'"], "s"),
    "bytes nl": (["b=b'a\\nb'"], "b"),
    "long text": (["s='x'*3000"], "len(s)"),
    "unicode id": (["über = 3"], "über"),
    "tabs": (["class P:\n\tdef predict(self, p):\n\t\treturn 1"], None),
    "line cont": (["a = 1 + \\\n  2"], "a"),
    "decor comment": (
        ["import functools\n@functools.lru_cache  # x\n# c\ndef f(): return 1"],
        "f()",
    ),
    "semicolon class": (["class A: x = 1; y = 2"], "A.y"),
    "if name main": (
        [
            "if __name__ == '__main__':\n    T = '''\n  a\n b'''\n    def f():\n        '''doc\n    x'''\n        return T"
        ],
        "f()",
    ),
    "frozenset of tuples": (["S=frozenset({(1,2),(3,4)})"], "sorted(S)"),
    "nested set mutated": (["d={'a':{1}}", "d['a'].add(2)"], "d"),
    "none rebinding": (["x=None", "x=3", "x=None"], "x"),
    "Path": (["from pathlib import Path\np=Path('a')/'b'"], "str(p)"),
    "Path cwd": (["from pathlib import Path\np=Path.cwd()/'b'"], "p.name"),
    "os.getcwd": (["import os\np=os.getcwd()"], "len(p)>0"),
    "inst w property cache": (
        [
            "class A:\n    def __init__(s): s._c=None\n    @property\n    def c(s):\n        if s._c is None: s._c=5\n        return s._c\na=A()",
            "a.c",
        ],
        "a._c",
    ),
    "counter decorator global": (
        [
            "n=0\ndef count(f):\n    def g(*a):\n        global n\n        n+=1\n        return f(*a)\n    return g\n@count\ndef f(x): return x",
            "f(1)",
        ],
        "(f(2), n)",
    ),
    "a complex number without a literal": (
        ["c=[complex('nan'), complex(-0.0, -1), complex(1, float('-inf')), 1+2j]"],
        "c",
    ),
    "a whole number beyond decimals": (
        ["x=10**5000 + 7", "xs=[x, {'a': -x}]", "s={x, 1}"],
        "(x % 97, [hex(each)[:9] for each in s], hex(xs[1]['a'])[-9:])",
    ),
    "an attribute that setattr gave a library": (
        ["import fractions\nsetattr(fractions.Fraction, 'twice_', lambda self: self * 2)"],
        "fractions.Fraction(1, 2).twice_()",
    ),
    "attributes that a loop gave a library": (
        [
            "import fractions\nfor name in ('one_', 'two_'):\n    setattr(fractions.Fraction, name, len(name))"
        ],
        "fractions.Fraction.two_",
    ),
}

if sys.version_info >= (3, 12):
    ALIKE["type parameters"] = (
        [
            "type Numbers = list[int]",
            "def first[T](items: list[T]) -> T: return items[0]",
            "class Box[T]:\n    def __init__(s, x: T): s.x = x\n    def get[U](s, other: U) -> T | U: return s.x or other",
        ],
        "(first([3]), Box(0).get(4), Numbers.__name__)",
    )
