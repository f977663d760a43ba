//! The number of workers follows what the primary may use, while it runs. A container is resized by its cgroup's limit, which a test cannot make
//! everywhere; the processors that a process may run on are looked at in the same place, and those anybody can change.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::harness::{Primary, Setup, free_port, program};

fn allow(primary: &Primary, processors: &CpuSet) {
    let pid = Pid::from_raw(i32::try_from(primary.pid()).unwrap());
    sched_setaffinity(pid, processors).unwrap();
}

#[test]
fn as_many_workers_run_as_there_are_processors_to_run_on() {
    let (port, admin) = (free_port(), free_port());
    let setup = Setup::bare(port, admin)
        .option("--instances", "max")
        .option("--listen", &format!("[::]:{port}"))
        .option("--admin", &format!("127.0.0.1:{admin}"))
        // In a container with neither limit nor request it is one worker, whatever there is.
        .option("--cpu-request-millicores", "64000");
    let all = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|number| all.is_set(*number)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    let primary = setup.run(&["node", &program("cluster.js")]);
    let count = primary.stats().workers.desired;
    assert!(count >= 2, "this needs a machine with two processors");
    primary.wait_ready(count);
    allow(&primary, &one);
    primary.wait_stats("one worker", |stats| stats.workers.running == 1 && stats.workers.desired == 1);
    allow(&primary, &all);
    primary.wait_ready(count);
}
