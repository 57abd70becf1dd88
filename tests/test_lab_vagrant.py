"""The virtual machine, as a Vagrant that is a small script tells of it: what is said, what is done.

What a person reads is one line with what to do.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.labs import Lab, make_lab, pytest_words
from tests.learners import kata

# It keeps the state of its machine in a file, and notes what it was asked for in another.
VAGRANT = """\
#!/bin/sh
here={here}
echo "$*" >> $here/asked
state=$(cat $here/state)
test ! -f $here/warnings || cat $here/warnings
case "$*" in
--version)
    echo "Vagrant $(cat $here/version)" ;;
"status --machine-readable default")
    test ! -f $here/broken || {{ cat $here/broken; exit 1; }}
    echo "1,default,metadata,provider,libvirt"
    echo "1,default,provider-name,libvirt"
    echo "1,default,state,$state" ;;
"ssh-config default")
    printf 'Host default\\n  HostName 127.0.0.1\\n  User vagrant\\n' ;;
"up default"*)
    test ! -f $here/refusal || {{ cat $here/refusal >&2; exit 1; }}
    echo "==> default: Booting"
    mkdir -p {root}/.vagrant/machines/default/libvirt
    echo one > {root}/.vagrant/machines/default/libvirt/id
    echo running > $here/state ;;
"halt default")
    echo poweroff > $here/state ;;
"snapshot list default")
    echo "==> default:"
    cat $here/snapshots ;;
"snapshot save --force default provisioned")
    test ! -f $here/unable || {{ cat $here/unable >&2; exit 1; }}
    echo provisioned >> $here/snapshots ;;
"snapshot restore --no-provision default provisioned") ;;
*)
    echo "unexpected: $*" >&2
    exit 9 ;;
esac
"""

# Reaches the stand-in as long as the machine runs.
SSH = """\
#!/bin/sh
echo "$*" >> {here}/ssh
test "$(cat {here}/state)" = running || {{ echo "ssh: no route to host" >&2; exit 255; }}
test ! -f {here}/unreachable || {{ echo "ssh: connection refused" >&2; exit 255; }}
exec {way} "$@"
"""


class Machine:
    """A virtual machine of a learner's, and what was asked of its Vagrant."""

    def __init__(self, directory: Path, lab: Lab) -> None:
        self.here = directory / "vagrant"
        self.lab = lab
        self.root = lab.learner.clone.root
        (self.here / "bin").mkdir(parents=True)
        (self.root / "Vagrantfile").touch()
        self.program("vagrant", VAGRANT.format(here=self.here, root=self.root))
        self.program("ssh", SSH.format(here=self.here, way=directory / "way"))
        self.says(state="running", version="2.3.7", snapshots="", asked="", ssh="")
        self.was_made("one")

    def program(self, name: str, text: str) -> None:
        (self.here / "bin" / name).write_text(text)
        (self.here / "bin" / name).chmod(0o755)

    def says(self, **files: str) -> None:
        for name, text in files.items():
            (self.here / name).write_text(text)

    def was_made(self, identity: str) -> None:
        folder = self.root / ".vagrant/machines/default/libvirt"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "id").write_text(identity)

    @property
    def asked(self) -> list[str]:
        """What Vagrant was asked for, its version aside."""
        lines = (self.here / "asked").read_text().splitlines()
        return [line for line in lines if line != "--version"]

    def kata(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.runs(kata(*words), **environment)

    def pytest(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.runs(pytest_words(*words))

    def runs(self, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.here}/bin:{os.environ['PATH']}"
        return self.lab.learner.runs(words, **{"PATH": path, **environment})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    lab = make_lab(tmp_path)
    lab.learner.knows("one", "two", "three", "four")
    return Machine(tmp_path, lab)


def refused(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("kata: ")
    for text in texts:
        assert text in line


# Ruby, Vagrant and its plugins write such things, and not to stderr only.
WARNINGS = """\
/usr/share/gems/fog-core-2.1.0/lib/fog/core.rb:58: warning: Using the last argument 1.2
[fog][WARNING] Unrecognized arguments: libvirt_ip_command
    from /usr/share/gems/fog-core-2.1.0/lib/fog/core.rb:58

1,default
"""


# The way to it -----------------------------------------------------------------------------------


def test_vagrant_is_asked_once_for_the_way(machine: Machine) -> None:
    first = machine.pytest("chapters/3_1")
    assert first.returncode == 0, first.stdout + first.stderr
    assert machine.asked == ["status --machine-readable default", "ssh-config default"]
    assert machine.pytest("chapters/3_1").returncode == 0
    assert len(machine.asked) == 2
    (call, again) = (machine.here / "ssh").read_text().splitlines()
    assert call == again
    assert call.startswith(f"-F {machine.root}/.kata/lab/default/ssh-config -oBatchMode=yes ")
    assert "-oControlMaster=no" in call


def test_warnings_of_vagrant_are_not_taken_for_what_was_asked(machine: Machine) -> None:
    machine.says(warnings=WARNINGS)
    done = machine.pytest("chapters/3_1")
    assert done.returncode == 0, done.stdout + done.stderr
    way = machine.root / ".kata/lab/default/ssh-config"
    assert way.read_text() == "Host default\n  HostName 127.0.0.1\n  User vagrant\n"
    status = machine.kata("lab", "status").stdout
    assert "machine   default, running\n" in status
    assert "snapshot  none" in status
    assert machine.kata("lab", "up").returncode == 0
    assert "snapshot  provisioned" in machine.kata("lab", "status").stdout


def test_a_way_that_is_not_told_is_missed(machine: Machine) -> None:
    silent = VAGRANT.replace("Host default\\n", "default:\\n")
    machine.program("vagrant", silent.format(here=machine.here, root=machine.root))
    refused(machine.kata("check", "3.1", "--lab", "vagrant"), "ssh-config: no way to default")


def test_another_machine_is_asked_for_anew(machine: Machine) -> None:
    machine.pytest("chapters/3_1")
    machine.was_made("two")
    assert machine.pytest("chapters/3_1").returncode == 0
    assert len(machine.asked) == 4


STATES = [
    ("not_created", "no virtual machine yet", "`vagrant up`"),
    ("shutoff", "is off", "`vagrant up`"),
    ("poweroff", "is off", "`vagrant up`"),
    ("saved", "is suspended", "`vagrant resume`"),
    ("paused", "is suspended", "`vagrant resume`"),
    ("aborted", "has crashed", "`vagrant up`"),
    ("preparing", "is preparing", "`vagrant up`"),
]


@pytest.mark.parametrize(("state", "said", "remedy"), STATES)
@pytest.mark.parametrize("known", [False, True])
def test_a_machine_that_does_not_run_is_told(
    machine: Machine, state: str, said: str, remedy: str, known: bool
) -> None:
    if known:  # the way to it is, so it is tried first
        assert machine.pytest("chapters/3_1").returncode == 0
    machine.says(state=state)
    refused(machine.kata("check", "3.1", "--lab", "vagrant"), said, remedy)


def test_pytest_says_it_in_one_line_too(machine: Machine) -> None:
    machine.says(state="poweroff")
    done = machine.pytest("chapters/3_1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line == "ERROR: lab vagrant: the virtual machine is off: type `vagrant up`"


def test_a_machine_that_runs_and_is_not_reached_is_told(machine: Machine) -> None:
    machine.says(unreachable="")
    done = machine.kata("check", "3.1", "--lab", "vagrant")
    refused(done, "runs, but ssh does not reach it", "connection refused")
    assert "`vagrant reload`" in done.stderr


def test_no_vagrant_is_told(machine: Machine) -> None:
    (machine.here / "bin/vagrant").unlink()
    done = machine.kata("check", "3.1", "--lab", "vagrant", PATH=f"{machine.here}/bin")
    refused(done, "there is no vagrant on this machine: install it from https://")


def test_an_old_vagrant_is_told(machine: Machine) -> None:
    machine.says(version="2.2.19")
    refused(machine.kata("lab", "status"), "this is Vagrant 2.2.19, older than 2.3: install it")
    machine.says(version="2.10.0")
    assert machine.kata("lab", "status").returncode == 0


def test_a_vagrant_that_does_not_work_is_told(machine: Machine) -> None:
    machine.program("vagrant", "#!/bin/sh\nexit 1\n")
    refused(machine.kata("lab", "status"), "`vagrant --version` fails")


def test_a_vagrantfile_that_does_not_work_is_told(machine: Machine) -> None:
    """Among what programs read, Vagrant says on stdout what is wrong."""
    error = "Vagrant::Errors::X,It is broken%!(VAGRANT_COMMA) line 7.\\nThat is all."
    machine.says(broken=f"1,,ui,info,x\n1,,error-exit,{error}\n")
    refused(machine.kata("lab", "status"), "vagrant status: It is broken, line 7. That is all.")


def test_no_vagrantfile_is_told(machine: Machine) -> None:
    (machine.root / "Vagrantfile").unlink()
    refused(machine.kata("lab", "up"), "no Vagrantfile in", "git checkout main -- Vagrantfile")


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ("No usable default provider could be found for your system.", "install VirtualBox"),
        ("The provider 'libvirt' could not be found, but was requested", "install VirtualBox"),
        ("qemu-img: error: No space left on device", "make room on this disk"),
        ("The box 'x/y' could not be found or\ncould not be accessed", "KATA_BOX"),
        ("Something else went wrong", "Something else"),
    ],
)
def test_what_vagrant_complains_of_is_told_with_what_to_do(
    machine: Machine, refusal: str, remedy: str
) -> None:
    machine.says(state="not_created", refusal=refusal)
    done = machine.kata("lab", "up")
    refused(done, "vagrant up: " + refusal.split("\n")[0], remedy)


# auto ------------------------------------------------------------------------------------------

# A machine that is not root's, for the process that is asked and all that it starts.
NOT_ROOT = textwrap.dedent("""\
    import dataclasses
    from dojo.testkit import machine

    there = machine.abilities()
    machine.abilities = lambda: tuple(
        dataclasses.replace(a, present=False, detail="you are user 1000", remedy="sudo")
        if a.name in ("root", "namespaces") else a for a in there
    )
""")


def as_somebody(machine: Machine, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a module with arguments as on a machine where we are not root."""
    code = f"{NOT_ROOT}\nimport os, sys, runpy\nos.geteuid = lambda: 1000\n"
    code += f"sys.argv = {[module, *words]!r}\nrunpy.run_module({module!r}, run_name='__main__')\n"
    return machine.runs([sys.executable, "-c", code])


def test_without_root_the_machine_is_used_by_itself(machine: Machine) -> None:
    words = [word for word in pytest_words("chapters/3_1")[3:] if word != "--lab=vagrant"]
    done = as_somebody(machine, "pytest", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lab: vagrant, Linux" in done.stdout
    checked = as_somebody(machine, "dojo", "check", "3.1")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "in the lab: vagrant" in checked.stdout


def test_with_root_it_is_not(machine: Machine) -> None:
    words = [word for word in pytest_words("chapters/3_1") if word != "--lab=vagrant"]
    assert "lab: here, Linux" in machine.runs(words).stdout
    assert machine.asked == []


def test_without_either_one_line_names_both_ways(machine: Machine) -> None:
    (machine.root / ".vagrant/machines/default/libvirt/id").unlink()
    words = [word for word in pytest_words("chapters/3_1")[3:] if word != "--lab=vagrant"]
    done = as_somebody(machine, "pytest", *words, "-x")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert "`sudo .venv/bin/pytest" in line
    assert "chapters/3_1 -x`" in line
    assert "`vagrant up`" in line
    checked = as_somebody(machine, "dojo", "check", "3.1")
    refused(checked, "`sudo ./kata check 3.1`", "`vagrant up`")
    assert machine.asked == []


def test_with_one_that_is_off_both_ways_are_named_too(machine: Machine) -> None:
    machine.says(state="poweroff")
    checked = as_somebody(machine, "dojo", "check", "3.1")
    refused(checked, "`sudo ./kata check 3.1`", "is off: type `vagrant up`")


# kata lab ----------------------------------------------------------------------------------------


def test_status_tells_what_there_is(machine: Machine) -> None:
    done = machine.kata("lab", "status")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert rows["machine"] == "default, running"
    assert rows["kernel"].startswith(f"Linux {os.uname().release}, ")
    assert rows["snapshot"].startswith("none")
    machine.says(state="poweroff")
    off = machine.kata("lab", "status")
    assert off.returncode == 1
    assert "is off: type `vagrant up`" in off.stdout


def test_up_makes_it_and_takes_a_snapshot_once(machine: Machine) -> None:
    machine.says(state="not_created")
    done = machine.kata("lab", "up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "==> default: Booting" in done.stdout
    assert "Snapshot provisioned is taken" in done.stdout
    assert (machine.here / "snapshots").read_text() == "provisioned\n"
    assert "Snapshot" not in machine.kata("lab", "up").stdout
    assert (machine.here / "snapshots").read_text() == "provisioned\n"


def test_a_provider_without_snapshots_is_no_reason_to_fail(machine: Machine) -> None:
    machine.says(unable="the provider does not support snapshots")
    done = machine.kata("lab", "up")
    assert done.returncode == 0, done.stderr
    assert "does not support snapshots" in done.stdout


def test_a_provider_is_chosen_by_its_name(machine: Machine) -> None:
    assert machine.kata("lab", "up", KATA_PROVIDER="libvirt").returncode == 0
    assert "up default --provider=libvirt" in machine.asked


def test_reset_puts_the_snapshot_back(machine: Machine) -> None:
    refused(machine.kata("lab", "reset"), "no snapshot provisioned", "`kata lab up` takes one")
    machine.says(snapshots="provisioned\n")
    assert machine.kata("lab", "reset").returncode == 0
    assert machine.asked[-1] == "snapshot restore --no-provision default provisioned"
    machine.says(state="not_created")
    refused(machine.kata("lab", "reset"), "no virtual machine yet: type `vagrant up`")


def test_down_switches_it_off(machine: Machine) -> None:
    done = machine.kata("lab", "down")
    assert (done.returncode, done.stdout[:9]) == (0, "It is off")
    assert (machine.here / "state").read_text() == "poweroff\n"
    machine.says(state="not_created")
    refused(machine.kata("lab", "down"), "no virtual machine yet")


def test_ssh_ends_with_what_the_command_ended_with(machine: Machine) -> None:
    done = machine.kata("lab", "ssh", "echo there; exit 7")
    assert (done.returncode, done.stdout) == (7, "there\n")
    machine.says(state="saved")
    done = machine.kata("lab", "ssh", "true")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("is suspended: type `vagrant resume`")
