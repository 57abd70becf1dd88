"""podman, which has no daemon: every call is a program of its own."""

import shutil

from dojo.engines.engine import PATH, Engine, Words, run_options
from dojo.errors import KataError

ABSENT = "no podman here (Debian: sudo apt-get install podman)"
# The files of a test host are this machine's and cannot be written to, so these are new here. No
# list of registries: with one, `busybox` is a name at Docker Hub. And conmon, which monitors a
# container, has the socket of its terminal in TMPDIR.
_ROOM = r"""
for place in /run /dev/shm /var/tmp /var/cache; do mount -t tmpfs none $place || exit; done
mount -t overlay -o lowerdir=/etc,upperdir=$1/etc,workdir=$1/work none /etc &&
rm -rf /etc/containers/registries.conf.d && mkdir -p /etc/containers &&
printf '[engine]\nconmon_env_vars = ["PATH=%s", "TMPDIR=/run"]\n' "$PATH" \
    > /etc/containers/containers.conf
"""
_KEYS = ("ID", "Image", "Command", "State", "Status", "CreatedAt", "Names")
_FIELDS = {"State": "ListContainer.State"}  # its .State is the status
_JSON = "{" + ",".join(f'"{key}":{{{{json .{_FIELDS.get(key, key)}}}}}' for key in _KEYS) + "}"


class Podman(Engine):
    name = "podman"
    monitor = "conmon"

    def start(self) -> None:
        for name in ("data", "etc", "work"):
            (self.directory / name).mkdir()
        runc = shutil.which("runc", path=PATH)
        if runc is None:
            raise KataError("podman: no runc here (Debian: sudo apt-get install runc)")
        made = self.host.run(["sh", "-c", _ROOM, "sh", str(self.directory)], env=self.env)
        if made.status != 0:
            raise KataError(f"podman does not start: {made.errors.strip()}")
        self.command = [
            *(self.program, "--root", f"{self.directory}/data", "--runroot", "/run/containers"),
            *("--tmpdir", "/run/libpod", "--runtime", runc, "--cgroup-manager", "cgroupfs"),
            *("--events-backend", "file"),
        ]

    def version(self) -> str:
        return self._must("version", "--format=podman {{.Client.Version}}").text.strip()

    def run_options(self) -> list[str]:
        limits = ("nofile=1024:1024", "nproc=1024:1024")  # it may not raise those that it has
        options = [*run_options(), "--security-opt=unmask=ALL"]
        return [*options, *(f"--ulimit={limit}" for limit in limits)]

    def words(self, typed: Words) -> list[str | bytes]:
        words = super().words(typed)
        if words[:1] in (["import"], ["commit"]):
            return [words[0], "--quiet", *words[1:]]  # else it tells on stderr how far it is
        if words[:1] == ["ps"]:  # its `json` is one list, with names of its own for what is in it
            return [_JSON if word == "json" else word for word in words]
        return words

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("podman", path=PATH) else ABSENT
