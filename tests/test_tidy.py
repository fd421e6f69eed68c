"""The house rules that no linter knows: sizes, units in names, docstrings, pure rooms, frozen facts, no dead modules, no foreign words.

Each rule is a function from a module (or all of them) to problems, and is shown to bite on a planted offence.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
PURE_ROOMS = {"model", "wire", "facts", "effects", "ports", "blueprint", "estimators", "deciders", "render"}
UNITLESS = {
    *("timeout", "delay", "interval", "duration", "latency", "memory", "ttl", "cooldown", "grace", "period"),
    *("age", "wait", "elapsed", "uptime", "backoff", "lifetime"),
}
"""As the last word of a number's name."""
UNITLESS_ALONE = {"size", "length"}
"""As the whole name: `page_size` says rows, `size` says nothing."""
BROAD_EXCEPT_ALLOWED = {"src/tenfold/loop/loop.py", "src/tenfold/cli/__init__.py"}
ROOTS = ("tenfold.cli", "tenfold.proof.load", "tenfold.sdk", "tenfold.sim", "tenfold.drivers.harm")
"""What is used from outside: the command, the load engine, the app's tools, and what the conformance suite runs on and harms with."""
INDEXES = ("https://pypi.org/", "https://files.pythonhosted.org/")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A Python file: `path` from the repository's root, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def in_src(self) -> bool:
        return self.path.startswith("src/")

    @property
    def is_test(self) -> bool:
        return Path(self.path).name.startswith("test_")

    @property
    def room(self) -> str:
        """`deciders` of src/tenfold/deciders/heal.py; empty outside of src."""
        parts = Path(self.path).with_suffix("").parts
        return parts[2] if self.in_src and len(parts) > 2 else ""

    @property
    def name(self) -> str:
        """`tenfold.deciders.heal`."""
        parts = Path(self.path).with_suffix("").parts[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def at(self, node: ast.AST, what: str) -> str:
        """A problem, as a line that an editor can jump to."""
        return f"{self.path}:{getattr(node, 'lineno', 1)} {what}"


def parsed(path: str, text: str) -> Module:
    """A module from its text."""
    return Module(path, text, ast.parse(text, path))


@cache
def files() -> tuple[str, ...]:
    """Every text file that is, or is about to be, in the repository; from the folder itself where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        listed = [
            str(p.relative_to(ROOT)) for top in ("src", "tests", "examples", "docs") for p in (ROOT / top).rglob("*")
        ]
    return tuple(sorted(path for path in listed if path and (ROOT / path).is_file()))


@cache
def modules() -> tuple[Module, ...]:
    """Every Python module of src, tests, examples and bench."""
    paths = [p for p in files() if p.endswith(".py") and p.startswith(("src/", "tests/", "examples/", "bench/"))]
    return tuple(parsed(p, (ROOT / p).read_text(encoding="utf-8")) for p in paths)


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function, however deep."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def sizes(module: Module) -> Iterator[str]:
    """(4) Functions and modules stay small enough to be held in mind."""
    lines = module.text.count("\n")
    if lines > MODULE_LINES_MAX:
        yield f"{module.path}: {lines} lines; the most is {MODULE_LINES_MAX}, split it"
    for function in functions(module.tree):
        length = (function.end_lineno or 0) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            yield module.at(function, f"{function.name} has {length} lines; the most is {FUNCTION_LINES_MAX}")


def module_docstring(module: Module) -> Iterator[str]:
    """(8) A module opens by saying what it is."""
    if module.tree.body and not ast.get_docstring(module.tree):
        yield f"{module.path}:1 opens without a docstring"


def public_docstrings(module: Module) -> Iterator[str]:
    """(10) What others may use says what it means. A property of one line, or a protocol's bare member, may let its name say it."""
    if not module.in_src:
        return
    for node in module.tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield module.at(node, f"{node.name} has no docstring")
            if isinstance(node, ast.ClassDef):
                is_protocol = any(ast.unparse(base).startswith("Protocol") for base in node.bases)
                for member in node.body:
                    if not isinstance(member, Function) or member.name.startswith("_"):
                        continue
                    if not _says_itself(member) and not (is_protocol and len(member.body) == 1):
                        yield module.at(member, f"{node.name}.{member.name} has no docstring")


def _says_itself(function: Function) -> bool:
    decorators = [ast.unparse(d) for d in function.decorator_list]
    is_short = "property" in decorators and len(function.body) == 1
    is_other_half = any(d.endswith((".setter", ".deleter")) or d in ("override", "overload") for d in decorators)
    return bool(ast.get_docstring(function)) or is_short or is_other_half


def units(module: Module) -> Iterator[str]:
    """(2) A number that is a duration or a size carries its unit last."""
    for node in ast.walk(module.tree):
        for name, annotation in _numbers(node):
            lower = name.lower()
            bare = lower.rpartition("_")[2] in UNITLESS or lower in UNITLESS_ALONE
            if bare and annotation is not None and re.search(r"\b(int|float)\b", annotation):
                yield module.at(
                    node, f"{name}: {annotation} has no unit in its name ({name}_s, {name}_ms, {name}_bytes?)"
                )


def _numbers(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    match node:
        case ast.arg(arg=name, annotation=annotation):
            yield name, annotation and ast.unparse(annotation)
        case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name), annotation=annotation):
            yield name, ast.unparse(annotation)
        case ast.Assign(
            targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=ast.Constant(value=int() | float() as value)
        ):
            yield name, type(value).__name__
        case ast.FunctionDef(name=name, returns=returns) | ast.AsyncFunctionDef(name=name, returns=returns) if (
            name[0] != "_"
        ):
            yield name, returns and ast.unparse(returns)


def pure_rooms(module: Module) -> Iterator[str]:
    """(21) Rooms that only think read no clock, open no file and print nothing; time rides in the snapshot."""
    if module.room not in PURE_ROOMS:
        return
    banned = re.compile(r"(datetime\.(now|utcnow|today)|date\.today|time\.\w+|open|print|input|exec|eval|breakpoint)")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and banned.fullmatch(ast.unparse(node.func)):
            yield module.at(node, f"calls {ast.unparse(node.func)}(), which a pure room may not")


def frozen(module: Module) -> Iterator[str]:
    """(7) Facts, effects and nouns are frozen, slotted dataclasses."""
    if module.room not in {"facts", "effects", "model"}:
        return
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and not any(
            ast.unparse(b).endswith(("Enum", "Protocol")) for b in node.bases
        ):
            decorators = [ast.unparse(d) for d in node.decorator_list]
            if "dataclass(frozen=True, slots=True)" not in decorators:
                yield module.at(node, f"{node.name} is not a dataclass(frozen=True, slots=True)")


def broad_excepts(module: Module) -> Iterator[str]:
    """(14) Nothing but the edges of the loop and of the command line catches everything; elsewhere only to clean up and raise on."""
    if not module.in_src or module.path in BROAD_EXCEPT_ALLOWED:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            raises_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if re.search(r"^$|\b(Base)?Exception\b", caught) and not raises_on:
                yield module.at(node, f"catches {caught or 'everything'}: name what can happen here")


def stories(module: Module) -> Iterator[str]:
    """(20) Each test tells its story in one sentence."""
    if not module.is_test:
        return
    for function in functions(module.tree):
        if function.name.startswith("test_"):
            story = " ".join((ast.get_docstring(function) or "").split())
            if not story:
                yield module.at(function, f"{function.name} has no docstring")
            elif story[-1] not in ".?!" or re.search(r"[.?!] +[A-Z]", story):
                yield module.at(function, f"{function.name}: its docstring is not one sentence")


def left_over(module: Module) -> Iterator[str]:
    """Nothing is left for later in a comment: what is known to be missing stands in CRITIQUES.md."""
    marks = re.compile(r"#.*\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")
    for number, line in enumerate(module.text.splitlines(), 1):
        if marks.search(line):
            yield f"{module.path}:{number} leaves something for later: {line.strip()}"


def dead_modules(all_modules: Iterable[Module]) -> Iterator[str]:
    """(21) Every module is reached by imports from what is used from outside."""
    known = {m.name: m for m in all_modules if m.in_src}
    reached: set[str] = set()
    to_visit = [*ROOTS, *(name for name in known if name.endswith(".__main__"))]
    while to_visit:
        name = to_visit.pop()
        if name in reached or name not in known:
            continue
        reached.add(name)
        to_visit += [name.rpartition(".")[0], *_imports(known[name], known)]
    for name in sorted(known.keys() - reached):
        if known[name].tree.body[1:]:
            yield f"{known[name].path}: nothing that is used from outside imports it"


def _imports(module: Module, known: dict[str, Module]) -> Iterator[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(source), names=names, level=0):
                yield source
                yield from (f"{source}.{alias.name}" for alias in names)
            case ast.Constant(value=str(text)) if text in known:
                yield text


def foreign_words(path: str, text: str) -> Iterator[str]:
    """The repository speaks of Tenfold alone: no path of somebody's machine, no tool that helped to write it, no private index."""
    words = (
        "/wo" + "rk/",
        "/ro" + "ot/",
        "/ho" + "me/",
        "anth" + "ropic",
        "cla" + "ude",
        "chat" + "gpt",
        "co" + "pilot",
    )
    pattern = re.compile("|".join(f"{re.escape(word)}" for word in words), re.IGNORECASE)
    for number, line in enumerate(text.splitlines(), 1):
        for found in pattern.finditer(line):
            yield f"{path}:{number} says {found[0]!r}"
        if path == "uv.lock":
            foreign = [url for url in re.findall(r"https?://\S+", line) if not url.startswith(INDEXES)]
            yield from (f"{path}:{number} names a private index" for _ in foreign)


RULES: tuple[Callable[[Module], Iterator[str]], ...] = (
    sizes,
    module_docstring,
    public_docstrings,
    units,
    pure_rooms,
    frozen,
    broad_excepts,
    stories,
    left_over,
)

OFFENCES: tuple[tuple[Callable[[Module], Iterator[str]], str, str], ...] = (
    (sizes, "src/tenfold/loop/a.py", "def f():\n" + "    x = 1\n" * 71),
    (sizes, "tests/a.py", "x = 1\n" * 501),
    (module_docstring, "tests/a.py", "x = 1\n"),
    (public_docstrings, "src/tenfold/loop/a.py", "def f(): ...\n"),
    (public_docstrings, "src/tenfold/loop/a.py", 'class A:\n    """An A."""\n    def f(self): return 1\n'),
    (units, "src/tenfold/loop/a.py", "def f(timeout: int): ...\n"),
    (units, "src/tenfold/loop/a.py", "class A:\n    memory: int | None = None\n"),
    (units, "src/tenfold/loop/a.py", "READ_TIMEOUT = 5\n"),
    (units, "src/tenfold/loop/a.py", "def f(*, size: int = 3): ...\n"),
    (units, "src/tenfold/loop/a.py", "def latency() -> float: ...\n"),
    (pure_rooms, "src/tenfold/deciders/a.py", "now = datetime.now(UTC)\n"),
    (pure_rooms, "src/tenfold/render/a.py", "open('x')\n"),
    (frozen, "src/tenfold/facts/a.py", "@dataclass\nclass Seen:\n    at: float\n"),
    (frozen, "src/tenfold/effects/a.py", "class Effect:\n    pass\n"),
    (broad_excepts, "src/tenfold/drivers/a.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (broad_excepts, "src/tenfold/drivers/a.py", "try:\n    f()\nexcept:\n    g()\n"),
    (stories, "tests/test_a.py", "def test_it():\n    assert f()\n"),
    (stories, "tests/test_a.py", 'def test_it():\n    """One thing. Another thing."""\n'),
    (left_over, "src/tenfold/loop/a.py", "x = 1  # TO" + "DO later\n"),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    """No module of src, tests or examples breaks a rule of the house."""
    problems = [problem for module in modules() for problem in rule(module)]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(("rule", "path", "text"), OFFENCES, ids=lambda value: getattr(value, "__name__", None))
def test_each_rule_bites(rule: Callable[[Module], Iterator[str]], path: str, text: str) -> None:
    """Every rule finds the offence that it is there to find."""
    assert list(rule(parsed(path, text)))


def test_no_module_is_dead() -> None:
    """Every module of src is reached from the command, the load engine, the app's tools or the simulator."""
    problems = list(dead_modules(modules()))
    assert not problems, "\n" + "\n".join(problems)


def test_a_dead_module_is_found() -> None:
    """A module that only another dead one imports is dead as well, and both are named."""
    texts = {
        "cli/__init__": "import tenfold.loop.a\n",
        "loop/a": "x = 1\ny = 2\n",
        "loop/b": "import tenfold.loop.c\nx = 1\n",
    }
    texts["loop/c"] = "x = 1\ny = 2\n"
    planted = [parsed(f"src/tenfold/{path}.py", text) for path, text in texts.items()]
    assert [problem.partition(":")[0] for problem in dead_modules(planted)] == [
        f"src/tenfold/loop/{n}.py" for n in "bc"
    ]


def test_the_repository_speaks_of_itself_alone() -> None:
    """No tracked text names a path of somebody's machine, a tool that helped to write it, or a private package index."""
    problems = []
    for path in files():
        raw = (ROOT / path).read_bytes()
        if b"\0" not in raw[:4096]:
            problems += foreign_words(path, raw.decode("utf-8", errors="replace"))
    assert not problems, "\n" + "\n".join(problems)


def test_foreign_words_are_found() -> None:
    """A path of a machine and a private index are found where they stand."""
    assert list(foreign_words("README.md", "see /ro" + "ot/x"))
    assert list(foreign_words("uv.lock", 'url = "https://mirror.example/simple"'))
