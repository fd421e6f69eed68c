"""What a folder's files tell about how its app is run. Stage: a folder -> a `Recipe`, which `starter` writes down as a blueprint.

How a program is found: a release's own `.venv/bin` and `node_modules/.bin` come first on its PATH, and a folder's `.venv`
or `node_modules` is shared by all releases as long as no service has a `build`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tenfold.blueprint.load import app_name

Files = Mapping[str, str | None]
"""A folder, three levels deep: relative paths with `/`, folders ending with `/`; the text of small files that `is_read`, else None.

Of `.venv` and `node_modules` only `.venv/bin/python` (or `venv/bin/python`) and `node_modules/` are of interest.
"""

_READ_SUFFIXES = (".py", ".js", ".mjs", ".ts", ".toml", ".txt", ".lock")
_READ_NAMES = ("package.json", "Procfile")
_FIRST_MODULES = ("main", "app", "asgi", "wsgi", "api", "server")
_APP = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?(FastAPI|Starlette|Litestar|Quart|Flask)\(", re.MULTILINE)
_BARE_ASGI = re.compile(r"^async def (\w+)\(\s*scope\b[^,)]*,\s*receive\b[^,)]*,\s*send\b", re.MULTILINE)
_FACTORY = re.compile(r"^def (create_app|make_app)\(\s*\)", re.MULTILINE)
_THREADS = 16


@dataclass(frozen=True, slots=True)
class Program:
    """One service as recognised: its command, what runs before it, and where it differs from the defaults."""

    name: str
    command: str
    build: str | None = None
    release: str | None = None
    path: str | None = None
    is_threaded: bool = False
    """True for a server that answers `_THREADS` requests at once, fewer than the default triggers wait for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What was recognised: the programs, what it was and how that was told, and further `hints` for the one who reads the blueprint."""

    programs: tuple[Program, ...]
    reason: str
    hints: tuple[str, ...] = ()


def is_read(path: str) -> bool:
    """True for a file whose text `recognise` looks at (give None for one that is larger than 64 KiB)."""
    name = path.rpartition("/")[2]
    return name in _READ_NAMES or name.endswith(_READ_SUFFIXES)


def recognise(files: Files) -> Recipe | None:
    """How to run the app in a folder with these files; None when they don't tell."""
    recipes = (_procfile, _django, _python, _node, _static)
    return next((recipe for look in recipes if (recipe := look(files))), None)


def _procfile(files: Files) -> Recipe | None:
    found = dict(re.findall(r"^([A-Za-z][\w-]*):[ \t]*(\S.*?)\s*$", files.get("Procfile") or "", re.MULTILINE))
    release = found.pop("release", None)
    if not found:
        return None
    build = _node_build(files) if "package.json" in files else _python_build(files)
    programs: dict[str, Program] = {}
    for index, (process, command) in enumerate(found.items()):
        name = app_name(process).replace("tenfold", "app")
        path = f"/{name}" if index and name != "web" and "PORT" in command else None
        programs[name] = Program(name, command, path=path)
    main = "web" if "web" in programs else next(iter(programs))
    programs[main] = replace(programs[main], build=build, release=release, path=None)
    return Recipe(tuple(programs.values()), f"a Procfile with {', '.join(programs)}")


def _django(files: Files) -> Recipe | None:
    manage = files.get("manage.py")
    if manage is None or "django" not in manage.lower():
        return None
    settings = re.search(r"DJANGO_SETTINGS_MODULE[\"'],\s*[\"'](\w+)", manage)
    package = settings[1] if settings else next((p.rpartition("/")[0] for p in files if p.endswith("/wsgi.py")), "")
    build = _python_build(files)
    python = _python_name(files, build)
    why = "a Django project (manage.py)"
    is_threaded = False
    if _needs(files, "gunicorn") and f"{package}/wsgi.py" in files:
        command = f"gunicorn {package}.wsgi --bind {{host}}:{{port}} --threads {_THREADS}"
        is_threaded = True
        why += " whose requirements name gunicorn"
    elif _needs(files, "uvicorn") and f"{package}/asgi.py" in files:
        command = f"uvicorn {package}.asgi:application --host {{host}} --port {{port}}"
        why += " whose requirements name uvicorn"
    else:
        command = f"{python} manage.py runserver --noreload {{host}}:{{port}}"
        why += " without gunicorn or uvicorn in its requirements, so Django's own development server runs it"
    program = Program(
        "web", command, build=build, release=f"{python} manage.py migrate --noinput", is_threaded=is_threaded
    )
    hints = ("A SQLite file and media/ are shared by all releases without being named.",)
    return Recipe((program,), why, hints)


def _python(files: Files) -> Recipe | None:
    for path, text in sorted(files.items(), key=lambda item: _nearness(item[0])):
        if text is None or not path.endswith(".py") or re.search(r"(?:^|/)(?:tests?/|test_|conftest)", path):
            continue
        app, bare, factory = _APP.search(text), _BARE_ASGI.search(text), _FACTORY.search(text)
        prefix = "PYTHONPATH=src " if path.startswith("src/") else ""
        module = path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        build = _python_build(files)
        if (app and app[2] == "Flask") or (factory and "Flask(" in text):
            return _flask(files, path, module, prefix, build, app[1] if app else None, factory[1] if factory else "")
        if app or bare:
            name, kind = (app[1], f"a {app[2]} app") if app else (bare[1] if bare else "", "an ASGI app")
            command = f"{prefix}uvicorn {module}:{name} --host {{host}} --port {{port}}"
            return Recipe((Program("web", command, build=build),), f"{kind} called {name} ({path})")
    return None


def _flask(
    files: Files, path: str, module: str, prefix: str, build: str | None, app: str | None, factory: str
) -> Recipe:
    why = f"a Flask app ({path})"
    is_threaded = _needs(files, "gunicorn")
    if is_threaded:
        target = f"{module}:{app}" if app else f"'{module}:{factory}()'"
        command = f"gunicorn {target} --bind {{host}}:{{port}} --threads {_THREADS}"
        why += " whose requirements name gunicorn"
    else:
        target = f"{module}:{app or factory}"
        command = f"{_python_name(files, build)} -m flask --app {target} run --host {{host}} --port {{port}}"
        why += " without gunicorn in its requirements, so Flask's own development server runs it"
    return Recipe((Program("web", prefix + command, build=build, is_threaded=is_threaded),), why)


def _node(files: Files) -> Recipe | None:
    text = files.get("package.json")
    if text is None:
        return None
    try:
        package = json.loads(text)
    except (ValueError, RecursionError):
        return None
    scripts = package.get("scripts") if isinstance(package, dict) else None
    if isinstance(scripts, dict) and isinstance(scripts.get("start"), str):
        command, why = "npm start", f"a Node app (package.json, script start: {scripts['start']})"
    elif "server.js" in files:
        command, why = "node server.js", "a Node app (server.js)"
    else:
        return None
    says_port = any("PORT" in (text or "") for text in files.values())
    hints = () if says_port else ("Nothing here reads PORT: make the app listen on process.env.PORT.",)
    return Recipe((Program("web", command, build=_node_build(files)),), " ".join(why.split()), hints)


def _static(files: Files) -> Recipe | None:
    for folder in ("public", "dist", "build", "site", "_site"):
        if f"{folder}/index.html" in files:
            command = f"python3 -m http.server {{port}} --bind {{host}} --directory {folder}"
            return Recipe((Program("web", command),), f"a static site ({folder}/index.html)")
    if "index.html" not in files:
        return None
    hint = (
        "It serves every file of this folder; move the site to public/ and add --directory public to serve only that."
    )
    return Recipe(
        (Program("web", "python3 -m http.server {port} --bind {host}"),), "a static site (index.html)", (hint,)
    )


def _python_build(files: Files) -> str | None:
    """What installs a Python app's requirements; None where a virtual environment of its own, or nothing, is there."""
    if _has_environment(files):
        return None
    if "uv.lock" in files:
        return "uv sync --frozen"
    if "requirements.txt" in files:
        return "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
    if re.search(r"^\[project\]", files.get("pyproject.toml") or "", re.MULTILINE):
        return "python3 -m venv .venv && .venv/bin/pip install ."
    return None


def _python_name(files: Files, build: str | None) -> str:
    """How Python is called: within a virtual environment `python` is its own; outside, many machines know only `python3`."""
    return "python" if build or _has_environment(files) else "python3"


def _has_environment(files: Files) -> bool:
    return ".venv/bin/python" in files or "venv/bin/python" in files


def _node_build(files: Files) -> str | None:
    """What installs and builds a Node app; None where its node_modules are there and nothing has to be built."""
    has_build = re.search(r'"build"\s*:', files.get("package.json") or "") is not None
    installs = {
        "pnpm-lock.yaml": "pnpm install --frozen-lockfile",
        "yarn.lock": "yarn install --frozen-lockfile",
        "package-lock.json": "npm ci",
    }
    install = next((command for lock, command in installs.items() if lock in files), None)
    if install is None and '"dependencies"' in (files.get("package.json") or ""):
        install = "npm install"
    if "node_modules/" in files and not has_build:
        return None
    return " && ".join(filter(None, (install, "npm run build" if has_build else None))) or None


def _needs(files: Files, package: str) -> bool:
    """True when the app's requirements name `package`."""
    texts = (files.get(name) or "" for name in ("requirements.txt", "pyproject.toml", "uv.lock"))
    return any(re.search(rf"(?<![\w-]){package}(?![\w-])", text, re.IGNORECASE) for text in texts)


def _nearness(path: str) -> tuple[int, int, str]:
    """Where to look first: at the top, and in modules of the usual names."""
    stem = path.rpartition("/")[2].removesuffix(".py")
    return path.count("/"), _FIRST_MODULES.index(stem) if stem in _FIRST_MODULES else len(_FIRST_MODULES), path
