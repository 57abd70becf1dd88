"""`./kata`, the script: what it makes, what it says, and what it does where something is missing.

Most of these run it against a stand-in for Python that makes a `.venv` in no time and writes down
what it was called with; the last ones make a real one.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tests of the script need Linux")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")

SOMEBODY = 1000

FAKE_PYTHON = r"""#!/bin/bash
# A stand-in for Python: `-m venv`, `-m pip install`, and yes to every question.
here=$(dirname "$0")
printf '%s\n' "python $*" | head -1 >>"$LOG"
case "$*" in
    "-I -c "*) [[ ! -e .venv/moved ]] && exit ;;
    "-m pip config list "*) ;;
    "-m venv .venv")
        mkdir .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip install "*)
        sleep "${FAKE_PIP_SECONDS:-0}"
        [[ ! ${FAKE_PIP_FAILS:-} ]] || { echo 'pip: no network' >&2; exit 1; }
        printf '%s\n' '#!/bin/bash' 'echo "tool in $PWD:$(printf " <%s>" "$@")"' \
            'cat' 'exit "${TOOL_STATUS:-0}"' >.venv/bin/kata
        chmod +x .venv/bin/kata ;;
    "-m compileall "*) ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""

# What the script may call, beside Python and what the tests put in its way.
COMMANDS = """
    bash cat chmod cp cut dirname env flock getent head mkdir mktemp mv printf readlink rm setpriv
    sh sleep stat tee test touch
"""

MAKING = "kata: making .venv with {python}\n"
INSTALLING = "kata: installing into .venv what pyproject.toml names\n"


@dataclass
class Copy:
    """A copy of the clone, and a PATH on which only what a test allows can be found.

    fakes: the directory that PATH names. log: what the stand-ins were called with.
    """

    root: Path
    fakes: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, name: str, text: str) -> Path:
        """Put a script on PATH."""
        path = self.fakes / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def kata(
        self, *arguments: str, cwd: Path | None = None, stdin: str = "", user: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run([str(self.root / "kata"), *arguments], cwd=cwd, stdin=stdin, user=user)

    def run(
        self, argv: list[str], cwd: Path | None = None, stdin: str = "", user: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=cwd or self.root,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
        )

    def calls(self) -> list[str]:
        """What Python was asked to do, without the questions put to it."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        questions = ("python -I -c", "python -m pip config list")
        return [line for line in lines if not line.startswith(questions)]

    def owned_by_others(self, user: int) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.lstat().st_uid != user]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that anybody may enter (pytest's own are closed to others)."""
    directory = Path(tempfile.mkdtemp(prefix="kata-bootstrap-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def copy(place: Path) -> Copy:
    root = make_copy(place / "a clone")
    fakes = place / "bin"
    fakes.mkdir()
    for name in COMMANDS.split():
        found = shutil.which(name)
        if found:
            (fakes / name).symlink_to(found)
    log = place / "log"
    log.touch()
    log.chmod(0o666)
    result = Copy(root, fakes, log, {"PATH": str(fakes), "HOME": str(place), "LOG": str(log)})
    python = result.command("fake-python", FAKE_PYTHON)
    result.environment["KATA_PYTHON"] = str(python)
    result.command("git", "#!/bin/sh\n")
    result.command("busybox", "#!/bin/sh\n")
    return result


def make_copy(root: Path) -> Path:
    """What the script needs of a clone: itself, pyproject.toml, and the packages named there."""
    for package in ("dojo", "dojo/plugin", "solutions"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").touch()
    (root / "README.md").write_text("A copy, for a test.\n")
    (root / "dojo" / "cli.py").write_text(
        "import os, sys\ndef main():\n    print('tool', sys.argv[1:], os.geteuid(), os.getcwd())\n"
    )
    for name in ("kata", "pyproject.toml"):
        shutil.copy2(ROOT / name, root / name)
    return root


def making(copy: Copy) -> str:
    return MAKING.format(python=copy.environment["KATA_PYTHON"]) + INSTALLING


# What it does ---------------------------------------------------------------------------------


def test_a_bare_clone_is_set_up_and_the_script_becomes_the_tool(copy: Copy) -> None:
    result = copy.kata("check", "a b", "", cwd=copy.fakes, stdin="typed")
    assert result.stdout == f"tool in {copy.fakes}: <check> <a b> <>\ntyped"
    assert result.stderr == making(copy)
    assert copy.calls() == [
        "python -m venv .venv",
        "python -m pip install -qq --disable-pip-version-check -e .",
    ]
    assert result.returncode == 0


def test_the_second_call_is_silent_and_starts_no_python(copy: Copy) -> None:
    copy.kata()
    before = copy.log.read_text()
    result = copy.kata("status")
    assert (result.stdout, result.stderr) == (f"tool in {copy.root}: <status>\n", "")
    assert copy.log.read_text() == before


def test_the_status_of_the_tool_is_the_status_of_the_script(copy: Copy) -> None:
    assert copy.kata().returncode == 0
    copy.environment["TOOL_STATUS"] = "3"
    assert copy.kata().returncode == 3


def test_another_pyproject_is_installed_into_the_same_venv(copy: Copy) -> None:
    copy.kata()
    copy.log.write_text("")
    (copy.root / "pyproject.toml").open("a").write("# changed\n")
    assert copy.kata().stderr == INSTALLING
    assert len(copy.calls()) == 1
    assert copy.kata().stderr == ""


def test_a_venv_whose_python_is_gone_is_made_anew(copy: Copy) -> None:
    copy.kata()
    (copy.root / ".venv/bin/python").unlink()
    (copy.root / ".venv/bin/python").symlink_to("/nowhere/python3.11")
    result = copy.kata()
    assert result.stderr.startswith("kata: removing .venv, which does not work (moved, unfinished")
    assert result.stderr.endswith(making(copy))
    assert copy.kata().stderr == ""


def test_a_venv_that_somebody_made_is_used(copy: Copy) -> None:
    venv = copy.root / ".venv"
    (venv / "bin").mkdir(parents=True)
    shutil.copy(copy.fakes / "fake-python", venv / "bin" / "python")
    (venv / "mine").touch()
    assert copy.kata().stderr == INSTALLING
    assert (venv / "mine").exists()


@pytest.mark.parametrize("kind", ["a file", "a link to nowhere", "an empty directory"])
def test_a_venv_of_another_kind_is_replaced(copy: Copy, kind: str) -> None:
    venv = copy.root / ".venv"
    if kind == "a file":
        venv.write_text("myproject\n")
    elif kind == "a link to nowhere":
        venv.symlink_to("nowhere")
    else:
        venv.mkdir()
    result = copy.kata()
    assert "removing .venv, which does not work" in result.stderr
    assert result.stdout.startswith("tool in")


@pytest.mark.parametrize("target", ["relative", "absolute", "chain"])
def test_it_is_found_through_a_symbolic_link(copy: Copy, place: Path, target: str) -> None:
    link = place / "link"
    if target == "chain":
        (place / "first").symlink_to("a clone/kata")
        link.symlink_to("first")
    else:
        link.symlink_to("a clone/kata" if target == "relative" else copy.root / "kata")
    result = copy.run([str(link), "x"], cwd=copy.fakes)
    assert result.stdout == f"tool in {copy.fakes}: <x>\n"
    assert (copy.root / ".venv/bin/kata").exists()


def test_it_is_found_when_bash_is_given_its_bare_name(copy: Copy) -> None:
    result = copy.run(["bash", "kata", "x"])
    assert result.stdout == f"tool in {copy.root}: <x>\n"


def test_it_works_without_flock(copy: Copy) -> None:
    (copy.fakes / "flock").unlink()
    assert copy.kata("x").stdout == f"tool in {copy.root}: <x>\n"


# What may go wrong while it works -------------------------------------------------------------


def test_an_installation_that_failed_does_not_count(copy: Copy) -> None:
    copy.environment["FAKE_PIP_FAILS"] = "yes"
    result = copy.kata()
    assert result.returncode == 1
    assert result.stdout == ""
    assert "pip: no network\nkata: pip could not install into .venv" in result.stderr
    del copy.environment["FAKE_PIP_FAILS"]
    assert copy.kata().stdout.startswith("tool in")


def test_a_later_installation_that_failed_does_not_count_either(copy: Copy) -> None:
    copy.kata()
    (copy.root / "pyproject.toml").open("a").write("# changed\n")
    copy.environment["FAKE_PIP_FAILS"] = "yes"
    assert copy.kata().returncode == 1
    assert copy.kata().returncode == 1
    del copy.environment["FAKE_PIP_FAILS"]
    assert copy.kata().stderr == INSTALLING


def test_an_installation_that_was_killed_does_not_count(copy: Copy) -> None:
    copy.environment["FAKE_PIP_SECONDS"] = "60"
    process = start(copy)
    wait_for_pip(copy)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    del copy.environment["FAKE_PIP_SECONDS"]
    result = copy.kata()
    assert "removing .venv, which does not work" in result.stderr
    assert result.stdout.startswith("tool in")


def test_of_two_in_a_bare_clone_the_second_waits(copy: Copy) -> None:
    copy.environment["FAKE_PIP_SECONDS"] = "1"
    first = start(copy)
    wait_for_pip(copy)
    second = copy.kata("second")
    first.communicate()
    assert first.returncode == 0
    assert second.stdout == f"tool in {copy.root}: <second>\n"
    assert second.stderr == "kata: waiting for another ./kata that is setting up\n"
    assert len(copy.calls()) == 2


def start(copy: Copy) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [copy.root / "kata"],
        env=copy.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_pip(copy: Copy) -> None:
    deadline = time.monotonic() + 60
    while not any("pip install" in call for call in copy.calls()):
        assert time.monotonic() < deadline, "pip was never called"
        time.sleep(0.01)


# What a person has set for pip and Python -------------------------------------------------------

# What `pip config list` shows, in its order.
SETTINGS = r"""
:env:.default-timeout='99'
:env:.index-url='https://of.the/environment'
:env:.user='1'
global.cert='/a certificate.pem'
global.extra-index-url='\nhttps://one\nhttps://two'
global.index-url='https://of.all/commands'
global.proxy='http://of.all'
global.target='/elsewhere'
global.user='true'
install.proxy='http://of.install'
install.require-hashes='true'
"""


def test_pip_keeps_what_a_person_has_set_to_reach_packages_and_nothing_else(copy: Copy) -> None:
    """With user, target or require-hashes of theirs it would not install into .venv."""
    settings = copy.fakes / "settings"
    settings.write_text(SETTINGS.lstrip())
    answer = f"""case "$*" in
        "-I -c "*ast*) exec {sys.executable} "$@" ;;
        "-m pip config list "*) cat "{settings}" && exit ;;
        "-m pip install "*) env | grep ^PIP_ >>"$LOG" ;;
    esac
    case"""
    (copy.fakes / "grep").symlink_to(shutil.which("grep") or "")
    copy.command("fake-python", FAKE_PYTHON.replace("case", answer, 1))
    copy.environment |= {"PIP_USER": "1", "PIP_DRY_RUN": "1"}
    assert copy.kata().returncode == 0
    assert {line for line in copy.calls() if line.startswith("PIP_")} == {
        "PIP_CERT=/a certificate.pem",
        "PIP_CONFIG_FILE=/dev/null",
        "PIP_DEFAULT_TIMEOUT=99",
        "PIP_EXTRA_INDEX_URL=https://one https://two",
        "PIP_INDEX_URL=https://of.the/environment",
        "PIP_PROXY=http://of.install",
    }


def test_settings_of_python_do_not_reach_the_tool(copy: Copy) -> None:
    """PYTHONINSPECT alone would leave a person in an interpreter after each command."""
    show = r"""printf '%s\n' '#!/bin/bash' 'env | grep ^PYTHON' >.venv/bin/kata; chmod +x"""
    (copy.fakes / "grep").symlink_to(shutil.which("grep") or "")
    copy.command("fake-python", FAKE_PYTHON.replace("chmod +x", show, 1))
    rubbish = ("OPTIMIZE", "INSPECT", "WARNINGS", "STARTUP", "PATH", "HOME", "SAFEPATH", "DEVMODE")
    copy.environment |= {f"PYTHON{name}": "1" for name in rubbish}
    copy.environment |= {"PYTHONIOENCODING": "latin-1", "PYTHONDONTWRITEBYTECODE": "1"}
    assert set(copy.kata().stdout.splitlines()) == {
        "PYTHONIOENCODING=latin-1",
        "PYTHONDONTWRITEBYTECODE=1",
    }


# Which Python ---------------------------------------------------------------------------------


def test_a_python_that_fails_when_asked_is_passed_over(copy: Copy) -> None:
    shim = copy.command("shim", "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
    copy.environment["KATA_PYTHON"] = str(shim)
    copy.command("python3.12", FAKE_PYTHON)
    copy.command("python3", shim.read_text())
    result = without_system_python(copy)
    assert result.stderr == (
        f"kata: KATA_PYTHON={shim} cannot be used: it is no Python 3.11 or newer with venv\n"
        + MAKING.format(python="python3.12")
        + INSTALLING
    )


def test_the_systems_own_python_is_preferred_to_that_on_path(copy: Copy) -> None:
    del copy.environment["KATA_PYTHON"]
    copy.command("python3", "#!/bin/sh\nexit 99\n")
    venv = copy.root / ".venv"
    result = subprocess.run(
        ["bash", "-c", f"source <(sed '$d' {ROOT}/kata); owner=; find_python; echo $python"],
        env=copy.environment | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "/usr/bin/python3\n"
    assert not venv.exists()


def without_system_python(
    copy: Copy, *, user: int | None = None, instead: Path = Path("/dev/null")
) -> subprocess.CompletedProcess[str]:
    """Run ./kata where /usr/bin/python3 cannot be started, or is something else."""
    if os.geteuid() != 0:
        pytest.skip("hiding /usr/bin/python3 needs root")
    become = f"setpriv --reuid={user} --regid={user} --clear-groups" if user is not None else ""
    system_python = os.path.realpath("/usr/bin/python3")
    script = f'/usr/bin/mount --bind {instead} {system_python} && exec {become} "$0"'
    argv = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, str(copy.root / "kata")]
    return copy.run(argv)


# What is missing, and apt ---------------------------------------------------------------------

FAKE_APT = """#!/bin/bash
echo "apt-get $*" >>"$LOG"
[[ ! ${APT_FAILS:-} ]] || { echo 'E: Unable to locate package' >&2; exit 100; }
if [[ " $* " == *" install "* ]]; then
    fakes=$(dirname "$0")
    for package; do
        case $package in
            git) cp "$fakes/fake-python" "$fakes/git" ;;
            busybox-static) cp "$fakes/fake-python" "$fakes/busybox" ;;
            python3-venv) cp "$fakes/fake-python" "$fakes/python3" ;;
        esac
    done
fi
"""


def remove(copy: Copy, *names: str) -> None:
    for name in names:
        (copy.fakes / name).unlink()


@as_root
@pytest.mark.parametrize(
    ("missing", "packages"),
    [(["git"], "git"), (["busybox"], "busybox-static"), (["git", "busybox"], "git busybox-static")],
)
def test_root_installs_what_is_missing_and_no_more(
    copy: Copy, missing: list[str], packages: str
) -> None:
    copy.command("apt-get", FAKE_APT)
    remove(copy, *missing)
    result = copy.kata()
    assert result.stderr == f"kata: installing with apt-get: {packages}\n" + making(copy)
    assert copy.calls()[0] == f"apt-get -qq -y install {packages}"
    assert result.stdout.startswith("tool in")


@as_root
def test_root_installs_no_package_where_nothing_is_missing(copy: Copy) -> None:
    copy.command("apt-get", FAKE_APT)
    assert copy.kata().stderr == making(copy)


@as_root
def test_root_installs_a_python(copy: Copy) -> None:
    del copy.environment["KATA_PYTHON"]
    copy.command("apt-get", FAKE_APT)
    result = without_system_python(copy)
    assert result.stderr.startswith("kata: installing with apt-get: python3-venv\n")
    assert MAKING.format(python="python3") in result.stderr
    assert result.stdout.startswith("tool in")


@as_root
def test_stale_package_lists_are_brought_up_to_date(copy: Copy) -> None:
    stale = "[[ -e $0.updated || $* == *update* ]] || exit 100; touch $0.updated\n"
    copy.command("apt-get", FAKE_APT.replace("fakes=$", stale + "fakes=$", 1))
    copy.command("apt-get", FAKE_APT.replace("[[ !", stale + "[[ !", 1))
    remove(copy, "git")
    assert copy.kata().returncode == 0
    assert copy.calls()[:3] == [
        "apt-get -qq -y install git",
        "apt-get -qq update",
        "apt-get -qq -y install git",
    ]


@as_root
def test_when_apt_fails_git_can_be_done_without_but_no_python(copy: Copy) -> None:
    copy.command("apt-get", FAKE_APT)
    copy.environment["APT_FAILS"] = "yes"
    remove(copy, "git")
    result = copy.kata()
    assert result.returncode == 0
    assert "E: Unable to locate package\nkata: apt-get could not install: git\n" in result.stderr

    shutil.rmtree(copy.root / ".venv")
    del copy.environment["KATA_PYTHON"]
    result = without_system_python(copy)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "apt-get could not install: python3-venv git" in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "kata: there is no Python 3.11 or newer with venv. Type: sudo apt-get install python3-venv"
    )


@as_root
def test_somebody_who_is_not_root_is_told_the_command(copy: Copy) -> None:
    give_to_somebody(copy)
    copy.command("apt-get", FAKE_APT)
    assert copy.kata(user=SOMEBODY).stderr == making(copy)

    shutil.rmtree(copy.root / ".venv")
    remove(copy, "git", "busybox")
    result = copy.kata(user=SOMEBODY)
    command = "sudo apt-get install git busybox-static"
    assert result.stderr == f"kata: not installed: git busybox-static. Type: {command}\n" + making(
        copy
    )
    assert result.returncode == 0
    assert "apt-get" not in copy.log.read_text()


@as_root
def test_without_a_python_somebody_who_is_not_root_cannot_go_on(copy: Copy) -> None:
    give_to_somebody(copy)
    copy.command("apt-get", FAKE_APT)
    del copy.environment["KATA_PYTHON"]
    result = without_system_python(copy, user=SOMEBODY)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Type: sudo apt-get install python3-venv\n" in result.stderr


@as_root
def test_beside_a_python_that_is_too_old_a_newer_one_is_named(copy: Copy) -> None:
    give_to_somebody(copy)
    copy.command("apt-get", FAKE_APT)
    copy.command("apt-cache", '#!/bin/sh\ntest "$2" = python3.12-venv\n')
    del copy.environment["KATA_PYTHON"]
    too_old = copy.command("too-old", "#!/bin/sh\nexit 1\n")
    result = without_system_python(copy, user=SOMEBODY, instead=too_old)
    assert result.returncode == 1
    assert "Type: sudo apt-get install python3.12-venv\n" in result.stderr


@as_root
def test_a_python_of_the_system_that_lacks_only_venv_gets_it(copy: Copy) -> None:
    give_to_somebody(copy)
    copy.command("apt-get", FAKE_APT)
    del copy.environment["KATA_PYTHON"]
    no_venv = copy.command("no-venv", "#!/bin/sh\ncase $* in *ensurepip*) exit 1 ;; esac\n")
    (copy.fakes / "python3").symlink_to("/usr/bin/python3")
    result = without_system_python(copy, user=SOMEBODY, instead=no_venv)
    assert result.returncode == 1
    assert "Type: sudo apt-get install python3-venv\n" in result.stderr


def test_without_apt_what_is_missing_is_named(copy: Copy) -> None:
    remove(copy, "git")
    result = copy.kata()
    assert result.stderr.startswith("kata: not installed: git (or what your system calls it)\n")
    assert result.returncode == 0


# Somebody else's clone ------------------------------------------------------------------------


def give_to_somebody(copy: Copy) -> None:
    for path in (copy.root, *copy.root.rglob("*")):
        os.lchown(path, SOMEBODY, SOMEBODY)


@as_root
def test_under_sudo_all_that_is_made_belongs_to_the_clones_owner(copy: Copy) -> None:
    give_to_somebody(copy)
    result = copy.kata("x", user=None)
    assert result.stderr == making(copy)
    assert copy.owned_by_others(SOMEBODY) == []
    (copy.root / "pyproject.toml").open("a").write("# changed\n")
    assert copy.kata().stderr == INSTALLING
    assert copy.owned_by_others(SOMEBODY) == []


@as_root
def test_under_sudo_pip_gets_a_home_that_it_may_write_to(copy: Copy) -> None:
    give_to_somebody(copy)
    look = 'touch "$HOME/.trace" || exit 1\nprintf "%s\\n" "home $HOME" >>"$LOG"\ncase'
    copy.command("fake-python", FAKE_PYTHON.replace("case", look, 1))
    copy.command("getent", "#!/bin/sh\necho 'x:x:1000:1000::/root:/bin/sh'\n")
    assert copy.kata().returncode == 0
    homes = {line for line in copy.calls() if line.startswith("home ")}
    (home,) = (Path(line.removeprefix("home ")) for line in homes)
    assert home != Path("/root")
    assert not home.exists(), "a temporary home is removed"


@as_root
def test_a_venv_that_root_made_in_somebody_elses_clone_is_made_anew(copy: Copy) -> None:
    assert copy.kata().returncode == 0
    for path in (copy.root, *copy.root.rglob("*")):
        if ".venv" not in path.parts:
            os.lchown(path, SOMEBODY, SOMEBODY)
    (copy.root / "pyproject.toml").open("a").write("# changed\n")
    assert "removing .venv" in copy.kata().stderr
    assert (copy.root / ".venv/bin/kata").stat().st_uid == SOMEBODY


@as_root
def test_in_roots_clone_somebody_else_is_told_and_nothing_is_made(copy: Copy) -> None:
    result = copy.kata(user=SOMEBODY)
    assert result.returncode == 1
    assert result.stderr == (
        f"kata: you may not write into {copy.root}: run it as its owner, or with sudo\n"
    )
    assert not (copy.root / ".venv").exists()
    assert copy.kata().returncode == 0
    assert copy.kata(user=SOMEBODY).stdout.startswith("tool in"), "what is there can be used"


# For real -------------------------------------------------------------------------------------


@pytest.fixture
def real(place: Path) -> Copy:
    """A copy that a real Python sets up, with rubbish in the environment."""
    environment = dict(os.environ)
    environment |= {"PYTHONHOME": "/nowhere", "PYTHONPATH": str(place / "poison"), "PIP_USER": "1"}
    environment.pop("KATA_PYTHON", None)
    (place / "poison").mkdir()
    (place / "poison" / "click.py").write_text("raise SystemExit('the wrong click')\n")
    return Copy(make_copy(place / "a clone"), place, place / "log", environment)


def test_a_real_installation_and_a_clone_that_is_moved(real: Copy) -> None:
    without_dependencies(real.root / "pyproject.toml")
    result = real.kata("x", "y z")
    assert result.stdout == f"tool ['x', 'y z'] {os.geteuid()} {real.root}\n", result.stderr
    assert len(result.stderr.splitlines()) == 2

    before = time.perf_counter()
    assert real.kata().stderr == ""
    assert time.perf_counter() - before < 2

    real.root = real.root.rename(real.root.with_name("moved"))
    assert "removing .venv" in real.kata().stderr
    real.environment = {"PATH": os.environ["PATH"]}
    pip_there = real.run([str(real.root / ".venv/bin/pip"), "--version"])
    assert str(real.root) in pip_there.stdout


def test_a_real_installation_where_paths_are_not_ascii_works_in_any_locale(real: Copy) -> None:
    """Python 3.11 reads the file that pip writes in the locale's encoding, or does not start."""
    without_dependencies(real.root / "pyproject.toml")
    home = real.root.parent / "home"
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/pip/pip.conf").write_text("[global]\nuser = true\ntarget = /nowhere\n")
    real.root = real.root.rename(real.root.with_name("ein läb, 実"))
    real.environment |= {"HOME": str(home), "LC_ALL": "C"}
    assert real.kata().stdout == f"tool [] {os.geteuid()} {real.root}\n"

    (file,) = real.root.glob(".venv/lib/python*/site-packages/_mydocker_kata.pth")
    file.write_text(str(real.root))  # as pip does, when somebody calls it by hand
    assert real.kata().stdout == f"tool [] {os.geteuid()} {real.root}\n"
    real.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0"}
    directly = real.run([str(real.root / ".venv/bin/kata")])
    assert directly.stderr == ""
    assert directly.stdout.startswith("tool []")


def without_dependencies(project: Path) -> None:
    """Most of the time goes into these, and one test installs them."""
    before, _, rest = project.read_text().partition("dependencies = [")
    project.write_text(f"{before}dependencies = [{rest[rest.index(']') :]}")


@as_root
def test_a_real_installation_under_sudo(real: Copy) -> None:
    give_to_somebody(real)
    result = real.kata()
    assert result.stdout == f"tool [] 0 {real.root}\n", result.stderr
    assert real.owned_by_others(SOMEBODY) == []
    real.environment = {"PATH": os.environ["PATH"]}
    again = real.kata(user=SOMEBODY)
    assert (again.stdout, again.stderr) == (f"tool [] {SOMEBODY} {real.root}\n", "")
