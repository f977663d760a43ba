"""What the sides are told while they serve: to reload, to stop, to lose a worker."""

import asyncio
import contextlib
import os
import random
import signal

from . import processes, sides


async def reload(side, running):
    """Replaces every worker, and comes back when the side's own command says that it is done and none of the old ones runs."""
    before = running.serving()
    if side is sides.PM2:
        await asyncio.to_thread(running.pm2, "reload", "app")
    else:
        await command(sides.PRIMARY, "ctl", "-n", f"bench-{running.port}", "reload")
    await asyncio.to_thread(gone, running, before)


def gone(running, before):
    """The old ones have a drain time of their own, which is part of what is measured."""
    processes.until(f"the end of workers {before} and {running.workers} fresh ones", 90, lambda: settled(running, before))


def settled(running, before):
    return len(running.serving()) == running.workers and not any(processes.alive(pid) for pid in before)


async def command(*words):
    process = await asyncio.create_subprocess_exec(*map(str, words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise processes.Stuck(f"{' '.join(map(str, words))} ended with {process.returncode}: {out.decode(errors='replace')}")


@contextlib.contextmanager
def held(running):
    """Its workers accept nothing and answer nothing meanwhile."""
    workers = running.serving()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def stop(running):
    """SIGTERM to the supervisor: the end of a container."""
    os.kill(running.supervisor, signal.SIGTERM)


async def kill_one(running, seed):
    """SIGKILL to one of the workers, and waits until there are as many as before."""
    os.kill(random.Random(seed).choice(running.serving()), signal.SIGKILL)
    await asyncio.to_thread(
        processes.until, f"{running.workers} workers after a kill", 60, lambda: len(running.serving()) == running.workers
    )
