"""`tenfold init`: a folder's files tell what app it is, and the blueprint that is written is right as it stands."""

import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tenfold.blueprint import NotRecognised, load, starter
from tenfold.model import Model

MANAGE = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\nimport django\n"
NODE = '{"scripts": {"start": "node index.js"}, "dependencies": {"express": "5"}}'
VENV = {".venv/bin/python": None}
Files = dict[str, str | None]


def made(files: Files, *command: str) -> tuple[Model, str, str]:
    """The model, the text and the reason of what is written for a folder."""
    found = starter(command, "My Shop", files)
    return load(found.text, default_name="other"), found.text, found.reason


@pytest.mark.parametrize(
    ("files", "command", "build", "release"),
    [
        (
            {"manage.py": MANAGE},
            "python3 manage.py runserver --noreload {host}:{port}",
            None,
            "python3 manage.py migrate --noinput",
        ),
        (
            {"manage.py": MANAGE, **VENV},
            "python manage.py runserver --noreload {host}:{port}",
            None,
            "python manage.py migrate --noinput",
        ),
        (
            {"manage.py": MANAGE, "requirements.txt": "Django\ngunicorn>=20", "shop/wsgi.py": ""},
            "gunicorn shop.wsgi --bind {host}:{port} --threads 16",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
            "python manage.py migrate --noinput",
        ),
        (
            {"manage.py": MANAGE, "uv.lock": 'name = "uvicorn"', "shop/asgi.py": ""},
            "uvicorn shop.asgi:application --host {host} --port {port}",
            "uv sync --frozen",
            "python manage.py migrate --noinput",
        ),
        ({"main.py": "app = FastAPI()\n"}, "uvicorn main:app --host {host} --port {port}", None, None),
        (
            {"src/shop/api.py": "api: FastAPI = fastapi.FastAPI(\n", "pyproject.toml": "[project]\n"},
            "PYTHONPATH=src uvicorn shop.api:api --host {host} --port {port}",
            "python3 -m venv .venv && .venv/bin/pip install .",
            None,
        ),
        (
            {"app.py": "site = Starlette(routes=[])\n", **VENV},
            "uvicorn app:site --host {host} --port {port}",
            None,
            None,
        ),
        (
            {"tests/test_app.py": "app = FastAPI()\n", "shop/__init__.py": "async def run(scope, receive, send):\n"},
            "uvicorn shop:run --host {host} --port {port}",
            None,
            None,
        ),
        (
            {"app.py": "app = Flask(__name__)\n"},
            "python3 -m flask --app app:app run --host {host} --port {port}",
            None,
            None,
        ),
        (
            {"wsgi.py": "def create_app():\n    return Flask(__name__)\n", "requirements.txt": "gunicorn", **VENV},
            "gunicorn 'wsgi:create_app()' --bind {host}:{port} --threads 16",
            None,
            None,
        ),
        ({"package.json": NODE}, "npm start", "npm install", None),
        ({"package.json": NODE, "package-lock.json": None}, "npm start", "npm ci", None),
        ({"package.json": NODE, "node_modules/": None, "yarn.lock": None}, "npm start", None, None),
        (
            {
                "package.json": NODE.replace('"start"', '"build": "tsc", "start"'),
                "node_modules/": None,
                "pnpm-lock.yaml": None,
            },
            "npm start",
            "pnpm install --frozen-lockfile && npm run build",
            None,
        ),
        ({"package.json": "{}", "server.js": None}, "node server.js", None, None),
        ({"index.html": None}, "python3 -m http.server {port} --bind {host}", None, None),
        ({"public/index.html": None}, "python3 -m http.server {port} --bind {host} --directory public", None, None),
        (
            {"Procfile": "web: gunicorn shop\nrelease: ./migrate\n", "requirements.txt": ""},
            "gunicorn shop",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
            "./migrate",
        ),
    ],
)
def test_recognises(files: Files, command: str, build: str | None, release: str | None) -> None:
    """Each kind of project gets the command that runs it, what installs it, and its migrations; the reason says why."""
    model, text, reason = made(files)
    web = model.services["web"]
    assert (model.name, web.command, web.build, web.release_hook) == ("my-shop", command, build, release)
    assert web.http and web.paths == ("/",)
    assert reason in text


def test_procfile_names_every_service() -> None:
    """All of a Procfile's processes become services; one more that listens gets paths of its own."""
    model, _, reason = made({"Procfile": "worker_1: work\nweb: run $PORT\nadmin: run $PORT\ntenfold: x\n"})
    assert {name: service.paths for name, service in model.services.items()} == {
        "worker-1": (),
        "web": ("/",),
        "admin": ("/admin",),
        "app": (),
    }
    assert reason == "a Procfile with worker-1, web, admin, app"


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (("python", "-m", "http.server", "{port}"), "python -m http.server {port}"),
        (("run", "--listen={host}:{port}", "a b", "it's"), "run --listen={host}:{port} 'a b' 'it'\"'\"'s'"),
        (("run", "$PORT", "${PORT}", "$HOME"), "run $PORT ${PORT} '$HOME'"),
        (("A=1 run --port $PORT # all: of it",), "A=1 run --port $PORT # all: of it"),
        (("{port}",), "{port}"),
        (("true",), "true"),
        (("run: it",), "run: it"),
        (("run\nit",), "run\nit"),
    ],
)
def test_explicit_command(typed: tuple[str, ...], command: str) -> None:
    """A command that is typed is taken as it is, whatever the folder holds; the shell will see the same words."""
    assert made({"manage.py": MANAGE}, *typed)[0].services["web"].command == command


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.text())
@example(["run"], "null")
@example(["\U00018cd6\x85\x7f"], "shop")
def test_any_command_loads(command: list[str], name: str) -> None:
    """Any command and any folder's name become a blueprint that loads and runs that very command."""
    typed = [word.replace("\0", "").encode(errors="ignore").decode() for word in command]
    try:
        found = starter(typed, name, {})
    except NotRecognised:
        assert not "".join(typed).strip()
        return
    model = load(found.text, default_name="other")
    if len(typed) == 1:
        assert model.services["web"].command == typed[0].strip()


names = st.sampled_from(
    [
        "manage.py",
        "main.py",
        "src/a/app.py",
        "package.json",
        "Procfile",
        "index.html",
        "uv.lock",
        "requirements.txt",
        "pyproject.toml",
    ]
)
snippets = st.sampled_from(
    [MANAGE, NODE, "web: a\nb: c $PORT\n", "app = Flask(", "app = FastAPI(", "[project]\n", "{", "gunicorn"]
)


@given(st.dictionaries(names, st.one_of(st.none(), snippets, st.text()), max_size=6))
def test_any_folder_loads(files: Files) -> None:
    """Whatever a folder holds, it is either not recognised or gets a blueprint that loads."""
    try:
        found = starter((), "shop", files)
    except NotRecognised as error:
        assert "tenfold init --" in str(error)
        return
    assert load(found.text, default_name="other").services


def test_unknown_folder_says_what_to_type() -> None:
    """A folder that tells nothing gets a sentence with the call that helps."""
    with pytest.raises(NotRecognised, match=r"type it after --, .*: tenfold init -- python3 -m http.server \{port\}"):
        starter((), "shop", {"README.md": None})
    with pytest.raises(NotRecognised, match="the command is empty"):
        starter((" ",), "shop", {})


def test_suggestions_in_comments_are_right() -> None:
    """What the blueprint suggests in comments loads when its hash is taken away."""
    _, text, _ = made({"index.html": None})
    uncommented = re.sub(r"^( *)# (\w+: [\[{])", r"\1\2", text, flags=re.MULTILINE)
    model = load(uncommented, default_name="other")
    assert model.data is not None and model.secrets and model.keep and model.env
    assert model.services["web"].health.path == "/health"
    assert len(yaml.safe_load(uncommented)) == len(yaml.safe_load(text)) + 4


def test_says_where_to_listen() -> None:
    """A command or a Node app that names no port is told to listen on PORT."""
    assert "it must listen on $PORT" in made({}, "serve")[1]
    assert "process.env.PORT" in made({"package.json": NODE})[1]
    assert "process.env.PORT" not in made({"package.json": NODE, "index.js": "listen(process.env.PORT)"})[1]
