"""A side that runs: where it listens, who its workers are, and its end."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .rows import FOLDER, ROOT

PROGRAMS = ROOT / "tests/bench/programs"
PEERS = FOLDER / "peers"

# The most that a start may take on a machine that others use too.
PATIENCE = 60


@dataclass
class Running:
    side: object
    workers: int
    port: int
    folder: Path
    process: subprocess.Popen = None

    @classmethod
    def prepare(cls, side, workers):
        # Not in the checkout: a side that is not root has to be able to write there.
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        folder.chmod(0o777)
        return cls(side, workers, processes.free_port(), folder)

    @property
    def roster(self):
        return self.folder / "roster"

    @property
    def supervisor(self):
        """The process that forks the workers."""
        return self.process.pid

    def launch(self, words, values, user):
        # Only what a program needs: a NODE_OPTIONS or WEB_CONCURRENCY of the caller's would change one side and not the other.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                words,
                env=kept | values,
                cwd=PROGRAMS,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_user(user),
            )
        processes.same_weight(self.process.pid)

    def serving(self):
        """The workers that said that they serve and still run, in the order in which they said it."""
        try:
            pids = [int(line) for line in self.roster.read_text().split()]
        except FileNotFoundError:
            return []
        return [pid for pid in pids if processes.alive(pid)]

    def wait_for(self, workers):
        def look():
            if self.process.poll() is not None:
                raise processes.Stuck(f"{self.side.name} ended at once with {self.process.returncode}:\n{self.log()[-2000:]}")
            return len(self.serving()) >= workers and listens(self.port)

        try:
            processes.until(f"{workers} workers of {self.side.name}", PATIENCE, look)
        except processes.Stuck as error:
            raise processes.Stuck(f"{error}; {len(self.serving())} serve; its log:\n{self.log()[-2000:]}") from None

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def stop(self):
        processes.end(self.process)
        # Its children, where it ended by itself and left them behind: all are of its session's group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def waited(self):
        """Itself, with all its workers serving; nothing of it is left where they do not come."""
        try:
            self.wait_for(self.workers)
        except BaseException:
            self.stop()
            raise
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def listens(port):
    """A proxy before the workers may be later than they are."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def as_user(user):
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


