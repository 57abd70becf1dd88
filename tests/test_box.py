"""The virtual machine, as far as it can be tested without one: what `./kata --provision` does to a
machine, what the Vagrantfile asks Vagrant for, and when the box is built anew.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEPENDENCIES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "dependencies"
]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tests of the scripts need Linux")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the script does")


# Provisioning ---------------------------------------------------------------------------------

# Each writes down what it was called with. /opt is the machine's own for the time of a test.

FAKE_PYTHON = r"""#!/bin/bash
printf '%s\n' "python $*" | head -1 >>"$LOG"
case "$*" in
    *ensurepip*) exit "${TOO_OLD:-0}" ;;
    "-I -c "*) [[ $0 == /opt/kata/* ]] ;; # it has the dependencies once it is made
    "-m pip config list "*) ;;
    "-m venv /opt/kata/venv") mkdir -p /opt/kata/venv/bin && cp "$0" /opt/kata/venv/bin/python ;;
    "-m pip install "*) [[ ! ${FAKE_PIP_FAILS:-} ]] || { echo 'pip: no network' >&2; exit 1; } ;;
    -V) echo "Python 3.99" ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""

FAKE_APT = r"""#!/bin/bash
printf '%s\n' "apt-get $*" >>"$LOG"
[[ ! ${APT_FAILS:-} ]] || { echo 'E: no network' >&2; exit 100; }
for package in "$@"; do
    case $package in
        nftables) ln -s "$(command -v true)" "$FAKES/nft" ;;
        linux-modules-extra-*) touch "$FAKES/aufs-is-there" ;;
    esac
done
"""

FAKE_MODPROBE = r"""#!/bin/bash
printf '%s\n' "modprobe $*" >>"$LOG"
[[ -e $FAKES/aufs-is-there ]]
"""

COMMANDS = """
    bash busybox cat chmod cp env git grep head ip iptables ln mkdir mktemp mount mv nft printf ps
    rm sh tar touch true uname unshare xz zstd bzip2
"""


@dataclass
class Machine:
    """What a machine to provision has: commands on PATH, and /opt."""

    fakes: Path
    opt: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, name: str, text: str) -> None:
        path = self.fakes / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def provision(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Where the script may write there is nothing of this machine's.
        script = (
            'mount --bind "$1" /opt && mount -t tmpfs none /etc/modules-load.d; shift; exec "$@"'
        )
        return subprocess.run(
            [
                *("/usr/bin/unshare", "-m", "/bin/bash", "-c", script, "bash", str(self.opt)),
                *(str(ROOT / "kata"), "--provision", *arguments),
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def calls(self) -> list[str]:
        """What was called, without the questions put to Python."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        questions = ("python -I", "python -V", "python -m pip config list")
        return [line for line in lines if not line.startswith(questions)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if not Path("/etc/modules-load.d").is_dir():
        pytest.skip("this machine has no /etc/modules-load.d to mount over")
    fakes, opt, log = tmp_path / "bin", tmp_path / "opt", tmp_path / "log"
    fakes.mkdir()
    opt.mkdir()
    log.touch()
    everywhere = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for name in COMMANDS.split():
        found = shutil.which(name, path=everywhere)
        (fakes / name).symlink_to(found or "/bin/true")
    environment = {"PATH": str(fakes), "LOG": str(log), "FAKES": str(fakes)}
    result = Machine(fakes, opt, log, environment)
    result.command("python3", FAKE_PYTHON)
    result.command("apt-get", FAKE_APT)
    result.command("modprobe", FAKE_MODPROBE)
    environment["KATA_PYTHON"] = str(fakes / "python3")
    return result


@as_root
def test_a_new_machine_gets_what_is_missing_and_a_python(machine: Machine) -> None:
    (machine.fakes / "nft").unlink()
    result = machine.provision("click>=8", "rich")
    assert machine.calls() == [
        "apt-get -qq -y install nftables",
        "python -m venv /opt/kata/venv",
        "python -m pip install -qq --disable-pip-version-check click>=8 rich",
    ], result.stderr
    assert "/opt/kata/venv/bin/python" in (machine.opt / "kata/python").read_text()
    assert result.stderr.splitlines()[-1].startswith("kata: the machine is ready: Python 3.99 (")
    assert result.returncode == 0


@as_root
def test_the_second_time_nothing_is_done(machine: Machine) -> None:
    machine.provision("click>=8", "rich")
    machine.calls()
    machine.environment |= {"APT_FAILS": "1", "FAKE_PIP_FAILS": "1"}
    result = machine.provision("click>=8", "rich")
    assert result.stderr == (
        "kata: nothing to do: Python 3.99 in /opt/kata/python has what the tests import\n"
    )
    assert machine.calls() == []
    assert result.returncode == 0


@as_root
def test_a_box_that_has_all_needs_no_network(machine: Machine) -> None:
    """As our own: /opt/kata/python is a Python that has the dependencies."""
    machine.environment |= {"APT_FAILS": "1", "FAKE_PIP_FAILS": "1"}
    put_python_that_has_the_dependencies(machine)
    result = machine.provision(*DEPENDENCIES)
    assert result.stderr.startswith("kata: nothing to do: Python 3."), result.stderr
    assert machine.calls() == []
    assert result.returncode == 0


@as_root
@pytest.mark.parametrize("dependency", ["click>=99", "there-is-no-such-package"])
def test_a_python_that_lacks_a_dependency_is_replaced(machine: Machine, dependency: str) -> None:
    put_python_that_has_the_dependencies(machine)
    assert machine.provision(*DEPENDENCIES, dependency).returncode == 0
    assert machine.calls()[0] == "python -m venv /opt/kata/venv"
    assert sys.executable not in (machine.opt / "kata/python").read_text()


def put_python_that_has_the_dependencies(machine: Machine) -> None:
    python = machine.opt / "kata/python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)


@as_root
def test_a_real_environment_is_used_by_the_python_that_is_made(machine: Machine) -> None:
    machine.environment["KATA_PYTHON"] = "/usr/bin/python3"
    machine.environment |= {k: v for k, v in os.environ.items() if k.startswith(("PIP", "SSL"))}
    result = machine.provision("packaging")
    assert result.returncode == 0, result.stderr
    result = machine.provision("packaging")
    assert "nothing to do: Python 3." in result.stderr


@as_root
def test_without_a_network_it_says_what_is_missing(machine: Machine) -> None:
    (machine.fakes / "nft").unlink()
    machine.environment["APT_FAILS"] = "1"
    result = machine.provision("rich")
    assert "kata: apt-get could not install: nftables\n" in result.stderr
    assert result.stderr.splitlines()[-1] == "kata: still not installed: nftables"
    assert result.returncode == 1


@as_root
def test_a_pip_that_fails_leaves_no_python_that_would_be_used(machine: Machine) -> None:
    machine.environment["FAKE_PIP_FAILS"] = "1"
    result = machine.provision("rich")
    assert result.stderr.splitlines()[-1] == (
        "kata: pip could not install what the tests import; when that is mended: vagrant provision"
    )
    assert result.returncode == 1
    assert not (machine.opt / "kata/python").exists()
    del machine.environment["FAKE_PIP_FAILS"]
    assert machine.provision("rich").returncode == 0


@as_root
def test_aufs_is_installed_where_it_is_meant(machine: Machine) -> None:
    if "aufs" in Path("/proc/filesystems").read_text().split():
        pytest.skip("this kernel has AUFS already")
    machine.provision("rich")
    assert "modprobe" not in machine.log.read_text()
    machine.calls()
    package = f"linux-modules-extra-{os.uname().release}"
    result = machine.provision("--aufs", "rich")
    assert f"apt-get -qq -y install {package}" in machine.calls(), result.stderr
    assert result.returncode == 0
    result = machine.provision("--aufs", "rich")
    assert "nothing to do" in result.stderr
    assert machine.calls() == ["modprobe -q aufs"]


@as_root
def test_a_kernel_without_aufs_is_no_success(machine: Machine) -> None:
    machine.environment["APT_FAILS"] = "1"
    result = machine.provision("--aufs", "rich")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"kata: kernel {os.uname().release} has no AUFS, and its modules-extra package neither"
    )


@as_root
def test_only_root_provisions() -> None:
    result = subprocess.run(
        ["/bin/bash", "-s", "--", "--provision"],
        input=(ROOT / "kata").read_text(),
        capture_output=True,
        text=True,
        check=False,
        user=1000,
        group=1000,
        extra_groups=[],
        cwd="/",
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "kata: only root can provision this machine\n"


# The Vagrantfile ------------------------------------------------------------------------------

# In place of Vagrant: writes down what the file says about each machine and each provider. A call
# that sets something is kept by its name, `override.vm.box` as `box`.
RECORDER = r"""
require "json"

class Recorder
  attr_reader :said

  def initialize
    @said = {}
  end

  def vm
    self
  end
  alias ssh vm

  def define(name, **options)
    machine = Recorder.new
    yield machine
    @said[name] = machine.said.merge(options)
  end

  def provider(name)
    chosen = Recorder.new
    override = Recorder.new
    yield chosen, override
    (@said["providers"] ||= {})[name] = chosen.said.merge(override.said)
  end

  def method_missing(name, *values, **options)
    @said[name.to_s.delete_suffix("=")] = options.empty? ? values.first : options
  end

  def respond_to_missing?(*)
    true
  end
end

module Vagrant
  def self.configure(_)
    config = Recorder.new
    yield config
    puts JSON.generate(config.said.merge("chosen" => ENV["VAGRANT_DEFAULT_PROVIDER"]))
  end
end

load ARGV[0]
"""

ruby = pytest.mark.skipif(shutil.which("ruby") is None, reason="there is no ruby to read it with")


def read_vagrantfile(**environment: str) -> dict[str, Any]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("KATA_", "VAGRANT_"))}
    result = subprocess.run(
        ["ruby", "-e", RECORDER, str(ROOT / "Vagrantfile")],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    said: dict[str, Any] = json.loads(result.stdout)
    return said


@ruby
def test_nothing_of_the_clone_is_shared_with_a_machine() -> None:
    assert read_vagrantfile()["synced_folder"] == {"disabled": True}


@ruby
@pytest.mark.parametrize(("name", "first"), [("default", []), ("aufs", ["--aufs"])])
def test_each_machine_is_provisioned_with_the_projects_dependencies(
    name: str, first: list[str]
) -> None:
    provision = read_vagrantfile()[name]["provision"]
    assert provision == {
        "path": str(ROOT / "kata"),
        "args": ["--provision", *first, *DEPENDENCIES],
    }


@ruby
def test_only_the_default_machine_starts_by_itself() -> None:
    said = read_vagrantfile()
    assert said["default"]["primary"] is True
    assert said["aufs"]["autostart"] is False


@ruby
@pytest.mark.parametrize("name", ["default", "aufs"])
@pytest.mark.parametrize(
    "provider", ["virtualbox", "libvirt", "parallels", "vmware_desktop", "hyperv"]
)
def test_each_provider_has_a_box_memory_and_processors(name: str, provider: str) -> None:
    said = read_vagrantfile(KATA_MEMORY="3000", KATA_CPUS="7")[name]["providers"][provider]
    assert said["box"].count("/") == 1
    assert (said["memory"], said["cpus"]) == (3000, 7)


@ruby
def test_another_box_is_for_machine_default_whatever_the_provider() -> None:
    said = read_vagrantfile(KATA_BOX="mine/box")
    assert said["default"]["box"] == "mine/box"
    assert not [p for p in said["default"]["providers"].values() if "box" in p]
    assert said["aufs"]["box"] == read_vagrantfile()["aufs"]["box"]


@ruby
def test_the_provider_can_be_chosen() -> None:
    assert read_vagrantfile(KATA_PROVIDER="libvirt")["chosen"] == "libvirt"
    assert read_vagrantfile(VAGRANT_DEFAULT_PROVIDER="hyperv")["chosen"] == "hyperv"
    assert read_vagrantfile()["chosen"] is None


@ruby
def test_a_processor_is_emulated_where_it_is_asked_for_or_there_is_no_kvm() -> None:
    def driver(**environment: str) -> Any:
        return read_vagrantfile(**environment)["default"]["providers"]["libvirt"].get("driver")

    assert driver(KATA_EMULATE="1") == "qemu"
    assert driver(KATA_EMULATE="0") is None
    assert driver() == (None if Path("/dev/kvm").exists() else "qemu")


@ruby
def test_the_boxes_own_vagrantfile_names_the_kernel_that_lies_beside_it() -> None:
    result = subprocess.run(
        ["ruby", "-e", RECORDER, str(ROOT / "dojo/box/Vagrantfile")],
        capture_output=True,
        text=True,
        check=True,
    )
    libvirt = json.loads(result.stdout)["providers"]["libvirt"]
    assert libvirt["kernel"] == str(ROOT / "dojo/box/vmlinuz")
    assert libvirt["initrd"] == str(ROOT / "dojo/box/initrd.img")


# The box --------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "dojo/box", tmp_path / "dojo/box")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def inputs(root: Path) -> str:
    result = subprocess.run(
        [str(root / "dojo/box/build"), "--inputs"], capture_output=True, text=True, check=True
    )
    return result.stdout


def test_a_box_is_known_by_what_it_is_made_of(copy: Path) -> None:
    before = inputs(copy)
    assert before == inputs(ROOT)
    assert len(before.strip()) == 64
    with (copy / "pyproject.toml").open("a") as project:
        project.write("# no dependency\n")
    assert inputs(copy) == before


@pytest.mark.parametrize("name", ["build", "init", "shutdown", "udhcpc", "Vagrantfile"])
def test_a_box_is_built_anew_when_a_file_of_it_changes(copy: Path, name: str) -> None:
    before = inputs(copy)
    with (copy / "dojo/box" / name).open("a") as file:
        file.write("# changed\n")
    assert inputs(copy) != before


def test_a_box_is_built_anew_when_a_dependency_changes(copy: Path) -> None:
    before = inputs(copy)
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace("click>=8.1", "click>=8.2"))
    assert inputs(copy) != before


@pytest.mark.parametrize("arguments", [[], ["--unknown"]])
def test_the_builder_says_how_it_is_called(arguments: list[str]) -> None:
    result = subprocess.run(
        [str(ROOT / "dojo/box/build"), *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr == "box: usage: dojo/box/build OUTPUT.box | --inputs\n"


def test_the_run_in_a_virtual_machine_says_how_it_is_called() -> None:
    result = subprocess.run(
        [str(ROOT / ".ci/vm"), "--unknown"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == ".ci/vm: usage: .ci/vm [--whole | --keep | --stop | --box]\n"
