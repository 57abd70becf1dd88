"""Docker: a dockerd, started by hand on the test host, and the `docker` that talks to it."""

import shutil
from pathlib import Path

from dojo.engines.engine import PATH, START_SECONDS, Engine, Words, run_options
from dojo.errors import KataError
from dojo.scratch import Running, TestHost

ABSENT = "no dockerd here (Debian: sudo apt-get install docker.io)"


def start_dockerd(host: TestHost, directory: Path, *options: str) -> Running:
    """Start a dockerd that leaves the network alone; it answers on `directory`/socket.

    Beside its directory it writes into /run and /etc/docker, whatever it is told: what it sees
    there is its own. What the host mounts later it sees too, what it mounts the host does not.
    """
    for name in ("data", "exec", "etc", "work"):
        (directory / name).mkdir()
    (directory / "daemon.json").write_text("{}")  # in place of the machine's own
    daemon = [
        *("dockerd", "--host", f"unix://{directory}/socket", "--pidfile", f"{directory}/pid"),
        *("--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec"),
        *("--config-file", f"{directory}/daemon.json", "--log-level", "warn"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge", "none", "--iptables=false"),
        *options,
    ]
    layers = f"lowerdir=/etc,upperdir={directory}/etc,workdir={directory}/work"
    script = f'mount -t tmpfs none /run && mount -t overlay -o {layers} none /etc && exec "$@"'
    environment = {"PATH": PATH, "TMPDIR": f"{directory}/exec"}  # runc's too: /tmp is read-only
    unshare = ("unshare", "--mount", "--propagation=slave")
    return host.start([*unshare, "sh", "-c", script, "sh", *daemon], env=environment)


class Docker(Engine):
    name = "docker"
    monitor = "containerd-shim"

    def start(self) -> None:
        # The usual log makes text of what was written: other bytes are lost.
        daemon = start_dockerd(self.host, self.directory, "--log-driver=local")
        self.env["DOCKER_HOST"] = f"unix://{self.directory}/socket"

        def is_over() -> bool:
            answered = self.call("version").status == 0
            return answered or self.host.wait(daemon.inner, 0.1) is not None

        self.host.until(is_over, START_SECONDS)
        if self.call("version").status != 0:
            said = daemon.stop().errors.splitlines() or ["nothing"]
            raise KataError(f"dockerd does not start, it says: {said[-1]}")

    def version(self) -> str:
        told = self._must("version", "--format={{.Server.Version}}")
        return f"Docker {told.text.strip().partition('+')[0]}"

    def run_options(self) -> list[str]:
        return [*run_options(), "--security-opt=systempaths=unconfined"]

    def words(self, typed: Words) -> list[str | bytes]:
        words = super().words(typed)
        # A command line older than 23 knows `json` by its long name only.
        if words[:1] == ["ps"] or words[:2] == ["network", "ls"]:
            return ["{{json .}}" if word == "json" else word for word in words]
        return words

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("dockerd", path=PATH) else ABSENT
