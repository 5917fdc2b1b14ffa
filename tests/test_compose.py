"""`docker-compose.yaml` and `local/Dockerfile` against everything they name; no container engine is needed."""

import ast
import copy
import importlib.metadata
import ipaddress
import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest
import yaml
from airflow.cli.cli_parser import get_parser as airflow_parser
from airflow.configuration import conf
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
from check_jsonschema.builtin_schemas import get_builtin_schema
from cryptography.fernet import Fernet

from local import stack as local_stack
from local.__main__ import command_line
from tests.conftest import Stack

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOME = PurePosixPath("/usr/local/airflow")
STATE = PurePosixPath("/var/lib/vitrine")
ENDLESS = {"postgres", "stack", "apiserver", "scheduler", "dag-processor", "triggerer"}
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")

Compose = dict[str, Any]
Check = Callable[[Compose], Iterator[str]]


# ------------------------------------------------------------------------------------------------ reading the two files


def airflow_services(compose: Compose) -> dict[str, dict[str, Any]]:
    return {name: it for name, it in compose["services"].items() if "AIRFLOW_HOME" in it.get("environment", {})}


def volumes(service: dict[str, Any]) -> Iterator[tuple[str, PurePosixPath, bool]]:
    """Source, target and whether it is read-only, of each mount in the short form."""
    for mount in service.get("volumes", []):
        source, target, *mode = mount.split(":")
        yield source, PurePosixPath(target), mode == ["ro"]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    logical = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in logical if line.strip())]


def instruction(dockerfile: Path, name: str) -> str:
    return [rest for word, rest in instructions(dockerfile) if word == name][-1]


def words(command: str | list[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def parses(parser: Any, arguments: list[str]) -> bool:
    try:
        parser.parse_args(arguments)
    except SystemExit as end:
        return end.code == 0
    return True


# --------------------------------------------------------------------------------------------------------------- checks


def schema(compose: Compose) -> Iterator[str]:
    specification = get_builtin_schema("vendor.compose-spec")
    for error in jsonschema.validators.validator_for(specification)(specification).iter_errors(compose):
        yield f"{error.json_path}: {error.message}"


def images(compose: Compose) -> Iterator[str]:
    (airflow,) = [
        line.split("==")[1] for line in PROJECT["project"]["dependencies"] if line.startswith("apache-airflow==")
    ]
    python = PROJECT["project"]["requires-python"].removeprefix("==").removesuffix(".*")
    for name, service in compose["services"].items():
        if name in airflow_services(compose):
            if service["image"] != f"apache/airflow:{airflow}-python{python}":
                yield f"{name}: the project is for Airflow {airflow} on Python {python}, not {service['image']}"
        elif "build" not in service and not re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", service["image"]):
            yield f"{name}: {service['image']} has no version"


def builds(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        if (build := service.get("build")) and not (ROOT / build["context"] / build["dockerfile"]).is_file():
            yield f"{name}: there is no {build['dockerfile']}"


def mounts(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for source, target, _ in volumes(service):
            if not source.startswith("."):
                if source not in compose["volumes"]:
                    yield f"{name}: volume {source} is not declared"
            elif not (ROOT / source).is_dir():
                yield f"{name}: there is no folder {source}"
            for outer_source, outer, read_only in volumes(service):
                # The engine makes a missing mount point, which it cannot do in what is mounted read-only.
                if read_only and outer in target.parents:
                    point = ROOT / outer_source / target.relative_to(outer)
                    if not point.is_dir():
                        yield f"{name}: {target} has no mount point in {outer_source}"


def mwaa_paths(compose: Compose) -> Iterator[str]:
    expected = {HOME / "dags": "./dags", HOME / "dags/include": "./include"}
    if (ROOT / "plugins").is_dir():
        expected[HOME / "plugins"] = "./plugins"
    for name, service in airflow_services(compose).items():
        if service["environment"]["AIRFLOW_HOME"] != str(HOME):
            yield f"{name}: AIRFLOW_HOME is not {HOME}"
        found = {target: source for source, target, _ in volumes(service) if source.startswith(".")}
        if name in ENDLESS and found != expected:
            yield f"{name}: mounts {found}, not {expected}"
        if any(source.startswith(".") and not read_only for source, _, read_only in volumes(service)):
            yield f"{name}: could change the sources"


def private_key(compose: Compose) -> Iterator[str]:
    """Airflow may read the bundle, and nothing else of the stack's."""
    at = {target: source for source, target, _ in volumes(compose["services"]["stack"])}
    for name, service in airflow_services(compose).items():
        for source, target, read_only in volumes(service):
            if source == at[STATE]:
                yield f"{name}: can read the stack's private key"
            if source == at[STATE / "trust"] and not read_only:
                yield f"{name}: could change what is trusted"
            bundle = PurePosixPath(service["environment"]["REQUESTS_CA_BUNDLE"])
            if source == at[STATE / "trust"] and bundle != target / "bundle.pem":
                yield f"{name}: REQUESTS_CA_BUNDLE is not in {target}"
        if name in ENDLESS and at[STATE / "trust"] not in {source for source, _, _ in volumes(service)}:
            yield f"{name}: has no bundle to trust"


def commands(compose: Compose) -> Iterator[str]:
    known = airflow_parser()
    for name, service in compose["services"].items():
        if name in airflow_services(compose):
            run = words(service["command"])
            if "entrypoint" in service:
                # The last line of a script, from the command's name on.
                last = shlex.split(run[-1].strip().splitlines()[-1])
                run = last[last.index("airflow") + 1 :] if "airflow" in last else last
            if not parses(known, run):
                yield f"{name}: Airflow has no command {' '.join(run)}"
            test = service.get("healthcheck", {}).get("test", [])
            if "airflow" in test and not parses(known, test[test.index("airflow") + 1 :]):
                yield f"{name}: Airflow has no command {' '.join(test[1:])}"
        elif build := service.get("build"):
            dockerfile = ROOT / build["context"] / build["dockerfile"]
            command = words(service.get("command") or json.loads(instruction(dockerfile, "CMD")))
            command = json.loads(instruction(dockerfile, "ENTRYPOINT")) + command
            if command[:3] != ["python", "-m", "local"] or not parses(command_line(), command[3:]):
                yield f"{name}: the local stack has no command {' '.join(command)}"


def settings(compose: Compose) -> Iterator[str]:
    described = conf.configuration_description
    for name, service in airflow_services(compose).items():
        for variable in service["environment"]:
            if match := re.fullmatch(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)", variable):
                section, option = match[1].lower(), match[2].lower()
                if option not in described.get(section, {"options": {}})["options"]:
                    yield f"{name}: Airflow has no setting [{section}] {option}"
            elif not re.match(r"AWS_|AIRFLOW_(HOME$|CONN_|VAR_)|REQUESTS_CA_BUNDLE$", variable):
                yield f"{name}: nothing reads {variable}"


def ports(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            address, _, _ = str(port).rpartition(":")[0].rpartition(":")
            if not address or not ipaddress.ip_address(address).is_loopback:
                yield f"{name}: port {port} is open to the network"


def health(compose: Compose) -> Iterator[str]:
    def checked(name: str) -> bool:
        service = compose["services"][name]
        if "healthcheck" in service:
            return bool(service["healthcheck"].get("test"))
        build = service.get("build")
        return bool(build) and any(word == "HEALTHCHECK" for word, _ in instructions(ROOT / build["dockerfile"]))

    one_shot = {name for name, it in compose["services"].items() if it.get("restart", "no") == "no"}
    if compose["services"].keys() - one_shot != ENDLESS:
        yield f"not {sorted(ENDLESS)} run on, but {sorted(compose['services'].keys() - one_shot)}"
    for name in compose["services"].keys() - one_shot:
        if not checked(name):
            yield f"{name}: has no health check"
    for name, service in compose["services"].items():
        for other, how in service.get("depends_on", {}).items():
            possible = {"service_healthy": ENDLESS, "service_completed_successfully": one_shot}[how["condition"]]
            if other not in possible:
                yield f"{name}: waits in vain for {other}, {how['condition']}"
    for name, service in airflow_services(compose).items():
        if name in ENDLESS and not {"migrate", "postgres", "stack"} <= service["depends_on"].keys():
            yield f"{name}: starts before what it needs"


def secrets(compose: Compose) -> Iterator[str]:
    for text in strings(compose):
        for variable, rest in VARIABLE.findall(text):
            if not rest.startswith(":?"):
                yield f"${{{variable}}} must be required: ${{{variable}:?…}}"
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|_KEY$|SECRET$|SQL_ALCHEMY_CONN$", variable)
            if secret and not variable.startswith("AWS_") and not VARIABLE.search(value):
                yield f"{name}: {variable} is written down"


def stack_environment(compose: Compose) -> Iterator[str]:
    """What a shell is told to use the stack on a laptop, Airflow is told here, with the service's name."""
    with tempfile.TemporaryDirectory() as state:
        told = local_stack.environment(Path(state), local_stack.Running(0, 4566, 4567))
    expected = {name: json.loads(value) if "_CONN_" in name else value for name, value in told.items()}
    expected["AWS_ENDPOINT_URL"] = "http://stack:4566"
    del expected["SEARCH_URL"]  # for a shell's own functions
    expected["AIRFLOW_VAR_VITRINE_SEARCH_URL"] = expected["AIRFLOW_VAR_VITRINE_SEARCH_URL"].replace(
        "127.0.0.1", "stack"
    )
    expected["AIRFLOW_CONN_AWS_DEFAULT"]["extra"]["config_kwargs"] = {"s3": {"addressing_style": "path"}}
    expected["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"]["extra"]["host"] = "stack"
    del expected["REQUESTS_CA_BUNDLE"]  # a place of its own, which private_key checks
    for name, service in airflow_services(compose).items():
        for variable, value in expected.items():
            given = service["environment"].get(variable)
            if (json.loads(given or "null") if "_CONN_" in variable else given) != value:
                yield f"{name}: {variable} is {given}, not {value}"


CHECKS: list[Check] = [
    *(schema, images, builds, mounts, mwaa_paths, private_key, commands, settings, ports, health, secrets),
    stack_environment,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_file_is_right(check: Check) -> None:
    assert list(check(COMPOSE)) == []


def broken(*path: str, to: Any) -> Compose:
    """The file's content with one value changed, added, or (`to=None`) taken away."""
    changed = copy.deepcopy(COMPOSE)
    inner = changed["services"]
    for step in path[:-1]:
        inner = inner[step]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return changed


def mounting(service: str, *mounts: str) -> Compose:
    return broken(service, "volumes", to=COMPOSE["services"][service]["volumes"] + list(mounts))


def setting(variable: str, value: str) -> Compose:
    return broken("scheduler", "environment", variable, to=value)


PASSWORD = "postgresql+psycopg2://airflow:airflow@postgres/airflow"
FAULTS: list[tuple[Check, Compose, str]] = [
    (schema, broken("stack", "prots", to=[]), "'prots' was unexpected"),
    (schema, broken("stack", "ports", to="4566:4566"), "$.services.stack.ports"),
    (
        images,
        broken("scheduler", "image", to="apache/airflow:3.3.0-python3.12"),
        "scheduler: the project is for Airflow",
    ),
    (images, broken("postgres", "image", to="postgres:latest"), "postgres:latest has no version"),
    (builds, broken("stack", "build", "dockerfile", to="Dockerfile"), "stack: there is no Dockerfile"),
    (mounts, mounting("scheduler", "./dag:/dag"), "scheduler: there is no folder ./dag"),
    (mounts, mounting("scheduler", "logs:/logs"), "scheduler: volume logs is not declared"),
    (
        mounts,
        mounting("triggerer", "./docs:/usr/local/airflow/dags/docs"),
        "triggerer: /usr/local/airflow/dags/docs has no",
    ),
    (mwaa_paths, mounting("apiserver", "./local:/local:ro"), "apiserver: mounts"),
    (mwaa_paths, mounting("apiserver", "./dags:/usr/local/airflow/dags"), "apiserver: could change the sources"),
    (mwaa_paths, setting("AIRFLOW_HOME", "/opt/airflow"), "scheduler: AIRFLOW_HOME is not"),
    (private_key, mounting("scheduler", "stack:/var/lib/vitrine:ro"), "scheduler: can read the stack's private key"),
    (private_key, mounting("scheduler", "trust:/trust"), "scheduler: could change what is trusted"),
    (
        private_key,
        setting("REQUESTS_CA_BUNDLE", "/var/lib/vitrine/trust/bundle.pem"),
        "scheduler: REQUESTS_CA_BUNDLE is not",
    ),
    (private_key, broken("scheduler", "volumes", to=["./dags:/usr/local/airflow/dags:ro"]), "scheduler: has no bundle"),
    (commands, broken("apiserver", "command", to="webserver"), "apiserver: Airflow has no command webserver"),
    (
        commands,
        broken("migrate", "command", to=["chown x\nexec airflow db init"]),
        "migrate: Airflow has no command db init",
    ),
    (
        commands,
        broken("triggerer", "healthcheck", "test", to=["CMD", "airflow", "jobs", "alive"]),
        "no command airflow jobs",
    ),
    (commands, broken("seed", "command", to=["seed", "--rows", "5"]), "seed: the local stack has no command"),
    (settings, setting("AIRFLOW__WEBSERVER__SECRET_KEY", "x"), "no setting [webserver] secret_key"),
    (settings, setting("AIRFLOW__CORE__SQL_ALCHEMY_CONN", "x"), "no setting [core] sql_alchemy_conn"),
    (settings, setting("AIRFLOW_CORE_EXECUTOR", "x"), "nothing reads AIRFLOW_CORE_EXECUTOR"),
    (ports, broken("apiserver", "ports", to=["8080:8080"]), "apiserver: port 8080:8080 is open"),
    (ports, broken("stack", "ports", to=["0.0.0.0:4566:4566"]), "stack: port 0.0.0.0:4566:4566 is open"),
    (ports, broken("stack", "ports", to=[4566]), "stack: port 4566 is open"),
    (health, broken("dag-processor", "healthcheck", to=None), "dag-processor: has no health check"),
    (health, broken("stack", "restart", to=None), "not ["),
    (
        health,
        broken("seed", "depends_on", "migrate", to={"condition": "service_healthy"}),
        "seed: waits in vain for migrate",
    ),
    (health, broken("scheduler", "depends_on", "stack", to=None), "scheduler: starts before what it needs"),
    (secrets, setting("AIRFLOW__API__SECRET_KEY", "${AIRFLOW_API_SECRET_KEY:-secret}"), "must be required"),
    (secrets, setting("AIRFLOW__API_AUTH__JWT_SECRET", "secret"), "AIRFLOW__API_AUTH__JWT_SECRET is written down"),
    (secrets, setting("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", PASSWORD), "SQL_ALCHEMY_CONN is written down"),
    (
        secrets,
        broken("postgres", "environment", "POSTGRES_PASSWORD", to="airflow"),
        "POSTGRES_PASSWORD is written down",
    ),
    (
        stack_environment,
        setting("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", '{"conn_type": "snowflake"}'),
        "scheduler: AIRFLOW_CONN",
    ),
    (stack_environment, setting("AIRFLOW_CONN_AWS_DEFAULT", "{}"), "scheduler: AIRFLOW_CONN_AWS_DEFAULT is {}"),
    (stack_environment, setting("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"), "scheduler: AWS_ENDPOINT_URL is"),
    (stack_environment, setting("AIRFLOW_VAR_VITRINE_LAKE", "lake"), "scheduler: AIRFLOW_VAR_VITRINE_LAKE is lake"),
]


@pytest.mark.parametrize(
    ("check", "compose", "problem"), [pytest.param(*fault, id=f"{fault[0].__name__}: {fault[2]}") for fault in FAULTS]
)
def test_every_fault_is_found(check: Check, compose: Compose, problem: str) -> None:
    assert any(problem in found for found in check(compose)), list(check(compose))


# -------------------------------------------------------------------------------------------------------------- secrets


@pytest.fixture
def make_env(tmp_path: Path) -> Callable[[], dict[str, str]]:
    def make() -> dict[str, str]:
        subprocess.run(["make", "--silent", "-f", ROOT / "Makefile", ".env"], cwd=tmp_path, check=True)
        return dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())

    return make


def test_make_env_writes_every_secret_once(make_env: Callable[[], dict[str, str]], tmp_path: Path) -> None:
    written = make_env()
    assert written.keys() == {name for text in strings(COMPOSE) for name, _ in VARIABLE.findall(text)}
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    Fernet(written["AIRFLOW_FERNET_KEY"])
    # Nothing that Compose or a URL would read as more than itself.
    assert all(re.fullmatch(r"[\w=-]{44,}", value) for value in written.values())
    assert len(set(written.values())) == len(written)
    assert make_env() == written
    (tmp_path / ".env").unlink()
    again = make_env()
    assert not set(again.values()) & set(written.values())


@pytest.mark.parametrize("file", [".env", ".env.new"])
def test_git_never_sees_the_secrets(file: str) -> None:
    subprocess.run(["git", "check-ignore", "--quiet", file], cwd=ROOT, check=True)


# ----------------------------------------------------------------------------------------------------------- Dockerfile

STACK_IMAGE = ROOT / "local" / "Dockerfile"


def test_the_stacks_image_copies_what_there_is_and_what_the_build_may_see() -> None:
    ignored, *rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored == "*"
    seen = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert all((ROOT / name).exists() for name in seen)
    assert ".env" not in seen
    sources = [source for word, rest in instructions(STACK_IMAGE) if word == "COPY" for source in rest.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert Path(source).parts[0] in seen, source


def test_the_stacks_image_is_pinned_as_the_algorithms_and_does_not_run_as_root() -> None:
    base = instruction(STACK_IMAGE, "ARG")
    assert re.fullmatch(r"BASE=python:3\.12\.\d+-slim-\w+", base)
    assert base == instruction(ROOT / "include" / "algorithms" / "Dockerfile", "ARG")
    assert instruction(STACK_IMAGE, "USER") == "vitrine"


def test_the_stacks_image_installs_with_the_makefiles_uv() -> None:
    (wanted,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"\buv==(\S+)", STACK_IMAGE.read_text()) == [wanted]


def test_the_stacks_image_keeps_its_state_in_folders_of_its_user() -> None:
    owned = re.search(r"install -d -o vitrine (.+)$", STACK_IMAGE.read_text(), re.MULTILINE)
    assert owned
    for name in ("stack", "seed"):
        targets = {str(target) for _, target, _ in volumes(COMPOSE["services"][name])}
        assert targets == set(owned[1].split()) == {str(STATE), str(STATE / "trust")}
    arguments = command_line().parse_args(json.loads(instruction(STACK_IMAGE, "CMD")))
    assert (str(arguments.state), arguments.host) == (str(STATE), "0.0.0.0")
    assert [f"127.0.0.1:{port}:{port}" for port in (arguments.port, arguments.snowflake_port)] == COMPOSE["services"][
        "stack"
    ]["ports"]
    options, _, check = instruction(STACK_IMAGE, "HEALTHCHECK").partition(" CMD ")
    assert "--start-period" in options
    *program, command, option, folder = json.loads(check)
    assert (program, command) == (["python", "-m", "local"], "status")
    assert parses(command_line(), [command, option, folder])
    assert folder == str(STATE)


def test_the_stacks_image_installs_what_the_stack_imports() -> None:
    groups = re.findall(r"uv sync --frozen --only-group (\w+)", STACK_IMAGE.read_text())
    assert groups == ["local", "algorithms"]
    assert ".venv-algorithms" in local_stack.IMAGES["vitrine-algorithms"].command[0]
    # The one runs beside Airflow, the other beside a Dask cluster; the stack imports neither.
    apart = {ROOT / "local" / "dag_runner.py", ROOT / "local" / "dask.py"}
    files = [*(set((ROOT / "local").rglob("*.py")) - apart), *(ROOT / "include" / "clients").glob("*.py")]
    imported = {name.partition(".")[0] for file in files for name in imports(file)}
    foreign = imported - sys.stdlib_module_names - {"local", "include"}
    homes = importlib.metadata.packages_distributions()
    installed = closure("local")
    missing = {name for name in foreign if not {normal(home) for home in homes.get(name, [])} & installed}
    assert "moto" in foreign
    assert missing == set()


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(group: str) -> set[str]:
    """Every package that the lock installs for a group alone, whatever the machine."""
    packages = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    found: set[tuple[str, str]] = set()
    wanted = list(packages["vitrine"]["dev-dependencies"][group])
    while wanted:
        dependency = wanted.pop()
        package = packages[dependency["name"]]
        for extra in {"", *dependency.get("extra", [])} - {extra for name, extra in found if name == package["name"]}:
            found.add((package["name"], extra))
            wanted += package["optional-dependencies"][extra] if extra else package.get("dependencies", [])
    return {name for name, _ in found}


# ------------------------------------------------------------------------------------------------------------ behaviour


def test_airflow_with_this_environment_reaches_the_stack_by_its_name(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = local_stack.running(stack.state)
    assert running
    published = {4566: running.port, 4567: running.snowflake_port}
    resolve = socket.getaddrinfo

    def in_the_network(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        return (
            resolve("127.0.0.1", published[int(port)], *rest, **more)
            if host == "stack"
            else resolve(host, port, *rest, **more)
        )

    monkeypatch.setattr(socket, "getaddrinfo", in_the_network)
    for name, value in COMPOSE["services"]["scheduler"]["environment"].items():
        if name.startswith(("AWS_", "AIRFLOW_CONN_")):
            monkeypatch.setenv(name, value)
    # The volume `trust` is this folder of the stack's state.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stack.state / "trust" / "bundle.pem"))

    s3 = S3Hook()
    assert s3.conn.meta.endpoint_url == "http://stack:4566"
    s3.load_string("by name", "compose/a", "vitrine-lake", replace=True)
    assert s3.read_key("compose/a", "vitrine-lake") == "by name"
    assert (stack.state / "s3" / "vitrine-lake" / "compose" / "a").read_text() == "by name"

    with closing(SnowflakeHook().get_conn()) as snowflake:
        assert snowflake.host == "stack"
        assert snowflake.cursor().execute("SELECT 40 + 2").fetchall() == [(42,)]


def test_the_dags_load_from_mwaas_paths_alone(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    for source, target, _ in sorted(volumes(COMPOSE["services"]["dag-processor"]), key=lambda mount: mount[1]):
        if source.startswith("."):
            place = home / target.relative_to(HOME)
            shutil.copytree(ROOT / source, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import json, sys, pathlib\n"
        "from airflow.dag_processing.dagbag import BundleDagBag\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name='dags-folder', load_op_links=False)\n"
        "files = sorted(stat.file for stat in bag.dagbag_stats)\n"
        "import include\n"
        "print(json.dumps([bag.import_errors, sorted(bag.dag_ids), files, include.__path__[0]]))\n"
    )
    hidden = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AIRFLOW_HOME")}
    environment = {**hidden, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags")}
    loaded = subprocess.run(
        [sys.executable, "-c", script, str(home / "dags")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    errors, dags, files, package = json.loads(loaded.stdout.splitlines()[-1])
    assert errors == {}
    assert "advanced_products" in dags
    assert {Path(file).name for file in files} == {file.name for file in (ROOT / "dags").glob("*.py")}
    assert package == str(home / "dags" / "include")
