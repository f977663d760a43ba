"""PM2 as it is used: a daemon with a home of its own under target/bench, the program in cluster mode."""

import os
import shutil
import subprocess

from . import processes
from .rows import FOLDER
from .running import PATIENCE, PEERS, Running

# PM2 asks its makers for a newer version otherwise, which is not what is measured.
QUIET = {"PM2_DISABLE_VERSION_CHECK": "true", "PM2_DISCRETE_MODE": "true"}


class RunningPm2(Running):
    """`process` stays empty: the daemon is not our child, it detaches itself."""

    home = FOLDER / "pm2"
    daemon_pid = 0

    def pm2(self, *words, **environment):
        """Runs `pm2 WORDS` to its end and gives what it printed."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        values = kept | QUIET | {"PM2_HOME": str(self.home)} | environment
        done = subprocess.run(
            [PEERS / "node_modules/.bin/pm2", *words], env=values, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=120
        )  # fmt: skip
        if done.returncode != 0:
            raise processes.Stuck(f"pm2 {' '.join(map(str, words))} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    def daemon(self):
        """A daemon without programs: its own start is no part of any figure."""
        pid = self.home / "pm2.pid"
        if pid.exists() and processes.alive(int(pid.read_text())):
            self.pm2("kill")
        shutil.rmtree(self.home, ignore_errors=True)
        self.pm2("ping")
        self.daemon_pid = int(pid.read_text())
        processes.same_weight(self.supervisor)

    def launch(self, program, values):
        self.pm2("start", str(program), "-i", str(self.workers), "--name", "app", **values)

    @property
    def supervisor(self):
        return self.daemon_pid

    def wait_for(self, workers):
        try:
            processes.until(f"{workers} workers of PM2", PATIENCE, lambda: len(self.serving()) >= workers)
        except processes.Stuck as error:
            raise processes.Stuck(f"{error}; its log:\n{self.log()[-2000:]}") from None

    def log(self):
        return "\n".join(path.read_text(errors="replace") for path in sorted((self.home / "logs").glob("*.log")))

    def stop(self):
        pids = processes.tree(self.supervisor)
        if processes.alive(self.supervisor):  # it may have been stopped by a signal
            self.pm2("kill")
        processes.until("the end of PM2", 30, lambda: not any(processes.alive(pid) for pid in pids))
        shutil.rmtree(self.folder, ignore_errors=True)
