"""script/bootstrap on machines where this or that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Machine

POLICY = Path("/usr/sbin/policy-rc.d")
REDIS = 'echo "Redis server v={} sha=00000000:0 malloc=jemalloc bits=64"'
# Knows the calls bootstrap makes, and writes down those of pip.
PYTHON = """
case "$*" in
  --version) echo Python 3.11.2 ;;
  *"pip install"*) echo "$*" >>"$(dirname "$0")/pip.log" ;;
  "-m venv"*) exit 3 ;;
esac"""


@pytest.fixture
def served(machine: Machine) -> Machine:
    """A machine with all that script/server needs, .venv included but not filled."""
    machine.program("cargo", "exit 0")
    machine.program("cc", "exit 0")
    machine.program("redis-server", REDIS.format("7.0.15"))
    machine.program("redis-cli", "exit 0")
    machine.program("curl", "exit 0")
    machine.program("python3", PYTHON)
    machine.program("python", PYTHON, machine.root / ".venv" / "bin")
    return machine


@pytest.fixture
def tested(served: Machine) -> Machine:
    """The same with all that script/test needs."""
    served.program("node", "echo v20.1.0")
    tools = "ruby npm siege ab h2load nghttp openssl nginx caddy systemd-analyze shellcheck chromium-headless-shell"
    tools += " wrk valgrind ngx_nchan_module.so"
    for name in tools.split():
        served.program(name, "exit 0")
    return served


def pip_log(machine: Machine) -> list[str]:
    log = machine.root / ".venv" / "bin" / "pip.log"
    return log.read_text().splitlines() if log.exists() else []


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def test_is_silent_when_all_is_there(served: Machine) -> None:
    first = served.run("script/bootstrap", "server")
    assert first.returncode == 0, first.stderr
    assert len(lines(first.stderr)) == 1
    assert "Python client" in first.stderr
    second = served.run("script/bootstrap", "server")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(pip_log(served)) == 1


@pytest.mark.parametrize("file", ["requirements.lock", "pyproject.toml"])
def test_fills_the_venv_again_when_its_sources_change(served: Machine, file: str) -> None:
    served.run("script/bootstrap")
    with (served.root / "clients" / "python" / file).open("a") as source:
        source.write("# changed\n")
    again = served.run("script/bootstrap")
    assert "installing: the Python client" in again.stderr
    assert len(pip_log(served)) == 2


def test_what_tests_need_serves_the_server_too(tested: Machine) -> None:
    assert tested.run("script/bootstrap", "test").returncode == 0
    assert "[test]" in pip_log(tested)[0]
    server = tested.run("script/bootstrap", "server")
    assert (server.returncode, server.stderr) == (0, "")


def test_the_server_does_not_take_test_tools_away(tested: Machine) -> None:
    tested.run("script/bootstrap", "server")
    tested.run("script/bootstrap", "test")
    assert len(pip_log(tested)) == 2
    assert tested.run("script/bootstrap", "test").stderr == ""


@pytest.mark.parametrize(
    ("name", "as_named"),
    [("redis-server", "redis-server"), ("curl", "curl"), ("cc", "cc")],
)
def test_without_apt_names_what_to_install(served: Machine, name: str, as_named: str) -> None:
    served.without(name)
    run = served.run("script/bootstrap", "server")
    assert run.returncode == 1
    wanted = f"cannot install {as_named}: there is no apt-get here; install it"
    assert wanted in lines(run.stderr)[-1]


def test_without_cargo_names_rustup(served: Machine) -> None:
    served.without("cargo")
    run = served.run("script/bootstrap", "server")
    assert run.returncode == 1
    assert len(lines(run.stderr)) == 1
    assert "rustup.rs" in run.stderr


def test_refuses_an_old_redis_by_its_version(served: Machine) -> None:
    served.program("redis-server", REDIS.format("6.0.16"))
    run = served.run("script/bootstrap", "server")
    assert run.returncode == 1
    assert len(lines(run.stderr)) == 1
    assert "6.0.16" in run.stderr
    assert "7.0 or newer" in run.stderr


def test_valkey_serves(served: Machine) -> None:
    served.without("redis-server")
    served.program("valkey-server", REDIS.format("8.1.1"))
    run = served.run("script/bootstrap", "server")
    assert run.returncode == 0, run.stderr


def test_without_root_and_sudo_says_so(served: Machine) -> None:
    served.program("apt-get", "exit 0")
    served.without("curl")
    run = served.run("script/bootstrap", "server", as_user=True)
    assert run.returncode == 1
    assert "not root, and there is no sudo" in lines(run.stderr)[-1]


# A sudo that writes down what it is asked for and runs only our apt-get.
SUDO = """
[ "$1" = -n ] && shift
log=${0%/*}/../checkout/sudo.log
echo "$*" >>"$log"
case "$1" in env) exec "$@" ;; esac
[ "$1" != tee ] || cat >/dev/null"""


def with_apt(machine: Machine, then: str) -> None:
    machine.program("sudo", SUDO)
    machine.program("systemctl", "exit 0")
    machine.program("apt-get", then)


def sudo_log(machine: Machine) -> list[str]:
    return (machine.root / "sudo.log").read_text().splitlines()


def position(log: list[str], words: str) -> int:
    found = [i for i, line in enumerate(log) if words in line]
    assert len(found) == 1, (words, log)
    return found[0]


def test_installs_redis_without_a_service(served: Machine) -> None:
    served.without("redis-server")
    version = REDIS.format("7.0.15").replace('"', '\\"')
    # The installed program appears where the machine keeps its programs.
    where = served.root / "installed"
    served.program(
        "apt-get",
        f"""case "$*" in *" install "*)
  printf '#!/bin/sh\\n{version}\\n' >{where}/redis-server
  chmod +x {where}/redis-server ;;
esac""",
    )
    apt = (served.bin / "apt-get").read_text().removeprefix("#!/bin/sh\n")
    with_apt(served, apt)
    where.mkdir()
    path = f"{served.bin}:{where}"
    run = served.run("script/bootstrap", "server", as_user=True, PATH=path)
    assert run.returncode == 0, run.stderr
    assert "installing: redis-server (apt)" in run.stderr
    log = sudo_log(served)
    install = position(log, "install --yes")
    assert position(log, " update") < install
    assert install < position(log, "systemctl disable redis-server")
    if not POLICY.exists():
        assert position(log, f"tee {POLICY}") < install
        assert install < position(log, f"rm -f {POLICY}")


def test_installs_a_proxy_without_a_service(tested: Machine) -> None:
    tested.without("caddy")
    where = tested.root / "installed"
    where.mkdir()
    program = f"printf '#!/bin/sh\\n' >{where}/caddy; chmod +x {where}/caddy"
    with_apt(tested, f'case "$*" in *" install "*) {program} ;; esac')
    run = tested.run("script/bootstrap", "test", as_user=True, PATH=f"{tested.bin}:{where}")
    assert run.returncode == 0, run.stderr
    assert "installing: caddy (apt)" in run.stderr
    log = sudo_log(tested)
    assert position(log, "install --yes") < position(log, "systemctl disable caddy.service")


def test_takes_the_policy_away_after_a_failure(served: Machine) -> None:
    served.without("redis-server")
    with_apt(served, 'case "$*" in *install*) echo "E: no space" >&2; exit 100 ;; esac')
    run = served.run("script/bootstrap", "server", as_user=True)
    assert run.returncode == 1
    last = lines(run.stderr)[-1]
    assert "cannot install redis-server: apt-get: no space; install it" in last
    log = sudo_log(served)
    assert any("install --yes" in line for line in log)
    if not POLICY.exists():
        assert position(log, f"rm -f {POLICY}") > position(log, f"tee {POLICY}")


def test_does_not_install_a_redis_that_is_too_old(served: Machine) -> None:
    served.without("redis-server")
    with_apt(served, "exit 0")
    served.program("apt-cache", "echo '  Candidate: 5:6.0.16-1ubuntu1'")
    run = served.run("script/bootstrap", "server", as_user=True)
    assert run.returncode == 1
    assert "6.0.16" in lines(run.stderr)[-1]
    assert not any("install --yes" in line for line in sudo_log(served))


def test_updates_the_package_lists_once(tested: Machine) -> None:
    tested.without("ruby", "siege", "shellcheck")
    with_apt(tested, "exit 0")
    run = tested.run("script/bootstrap", "test", as_user=True)
    assert run.returncode == 0, run.stderr
    log = sudo_log(tested)
    position(log, " update")
    packages = [line.split()[-1] for line in log if "install --yes" in line]
    assert packages == ["ruby-redis", "siege", "shellcheck"]


def test_valkey_is_installed_where_the_distribution_has_it(tested: Machine) -> None:
    with_apt(tested, "exit 0")
    tested.program("apt-cache", "echo '  Candidate: (none)'")
    run = tested.run("script/bootstrap", "test", as_user=True, CI="true")
    assert run.returncode == 0, run.stderr
    assert "valkey" not in run.stderr
    tested.program("apt-cache", "echo '  Candidate: 8.1.1+dfsg1-3'")
    run = tested.run("script/bootstrap", "test", as_user=True)
    assert any("install --yes" in line and line.endswith("valkey-server") for line in sudo_log(tested))


def test_a_missing_language_is_said_and_fails_only_in_ci(tested: Machine) -> None:
    tested.without("ruby")
    run = tested.run("script/bootstrap", "test")
    assert run.returncode == 0, run.stderr
    assert "ruby" in run.stderr
    assert "its tests will be skipped" in run.stderr
    assert tested.run("script/bootstrap", "test", CI="true").returncode == 1


def test_an_old_node_is_no_node(tested: Machine) -> None:
    tested.program("node", "echo v16.20.2")
    run = tested.run("script/bootstrap", "test")
    assert "cannot install node" in run.stderr


def test_what_pip_could_not_do_is_one_line(served: Machine) -> None:
    failing = 'case "$*" in *"pip install"*) echo "ERROR: no network" >&2; exit 1 ;; esac'
    served.program("python", failing, served.root / ".venv" / "bin")
    run = served.run("script/bootstrap")
    assert run.returncode == 1
    last = lines(run.stderr)[-1]
    assert "cannot install the Python client: no network (all of pip's words" in last
    assert len(lines(run.stderr)) == 2


def test_refuses_an_unknown_group(machine: Machine) -> None:
    run = machine.run("script/bootstrap", "everything")
    assert run.returncode == 1
    assert "unknown argument 'everything'" in run.stderr


def test_benchmarks_say_what_they_miss_in_one_line(served: Machine) -> None:
    run = served.run("script/bootstrap", "bench")
    assert run.returncode == 1
    assert "cannot install wrk: there is no apt-get here" in lines(run.stderr)[-1]


def test_benchmarks_bring_what_tests_need(tested: Machine) -> None:
    tested.program("perf", "exit 0")
    assert tested.run("script/bootstrap", "bench").returncode == 0
    assert "requirements-test.txt" in pip_log(tested)[0]
    assert "requirements-bench.txt" in pip_log(tested)[0]
    for group in ("bench", "test", "server"):
        assert tested.run("script/bootstrap", group).stderr == ""


def test_tests_do_not_bring_what_benchmarks_need(tested: Machine) -> None:
    tested.run("script/bootstrap", "test")
    assert "requirements-bench.txt" not in pip_log(tested)[0]
