//! Limits and usage of the container, as the kernel accounts them: cgroup v2, v1, and both at once (hybrid).

use std::fs;
use std::path::{Path, PathBuf};

use primary_protocol::{Cpu, Memory};

/// cgroup v1 says "no limit" with a number near the largest that fits, rounded to pages.
const V1_UNLIMITED: u64 = 1 << 60;

/// The folders in which the kernel shows this container's controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    v2: Option<Folder>,
    cpu: Option<Folder>,
    cpuacct: Option<Folder>,
    memory: Option<Folder>,
}

/// A cgroup's folder, and the topmost one above it that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folder {
    own: PathBuf,
    top: PathBuf,
}

impl Cgroups {
    /// Finds them for the calling process.
    pub fn of_this_process() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::find(Path::new("/"), &read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// Finds them by the kernel's two lists; `root` stands before every path.
    fn find(root: &Path, mountinfo: &str, memberships: &str) -> Self {
        let mut found = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            for membership in memberships.lines() {
                let mut fields = membership.splitn(3, ':').skip(1);
                let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
                let has = |controller: &str| {
                    controllers.split(',').any(|one| one == controller)
                        && mount.options.split(',').any(|one| one == controller)
                };
                let folder = || mount.folder(root, path);
                if mount.kind == "cgroup2" && controllers.is_empty() {
                    found.v2 = found.v2.or_else(|| Some(folder()));
                } else if mount.kind == "cgroup" {
                    found.cpu = found.cpu.or_else(|| has("cpu").then(folder));
                    found.cpuacct = found.cpuacct.or_else(|| has("cpuacct").then(folder));
                    found.memory = found.memory.or_else(|| has("memory").then(folder));
                }
            }
        }
        found
    }

    /// The CPU limit in thousandths of a CPU: the lowest from this cgroup upwards. `None` without one.
    pub fn cpu_limit_millicores(&self) -> Option<u64> {
        let v1 = lowest(self.cpu.as_ref(), |dir| {
            let quota = number(dir, "cpu.cfs_quota_us")?;
            let period = number(dir, "cpu.cfs_period_us")?;
            quota.saturating_mul(1000).checked_div(period)
        });
        let v2 = lowest(self.v2.as_ref(), |dir| {
            let text = read(dir, "cpu.max")?;
            let mut words = text.split_whitespace();
            let quota: u64 = words.next()?.parse().ok()?;
            let period: u64 = words.next()?.parse().ok()?;
            quota.saturating_mul(1000).checked_div(period)
        });
        [v1, v2].into_iter().flatten().min()
    }

    /// Processor time used, and the limit. `None` where neither version accounts it.
    pub fn cpu(&self) -> Option<Cpu> {
        let v1 = || number(&self.cpuacct.as_ref()?.own, "cpuacct.usage").map(|nanoseconds| nanoseconds / 1000);
        let v2 = || keyed(&self.v2.as_ref()?.own, "cpu.stat", "usage_usec");
        let usage_microseconds = v1().or_else(v2)?;
        Some(Cpu { usage_microseconds, limit_millicores: self.cpu_limit_millicores() })
    }

    /// Memory in use, and the lowest limit. `None` where neither version accounts it.
    pub fn memory(&self) -> Option<Memory> {
        if let Some(folder) = &self.memory
            && let Some(usage_bytes) = number(&folder.own, "memory.usage_in_bytes")
        {
            let limit = |dir: &Path| number(dir, "memory.limit_in_bytes").filter(|limit| *limit < V1_UNLIMITED);
            return Some(Memory { usage_bytes, limit_bytes: lowest(Some(folder), limit) });
        }
        let usage_bytes = number(&self.v2.as_ref()?.own, "memory.current")?;
        Some(Memory { usage_bytes, limit_bytes: lowest(self.v2.as_ref(), |dir| number(dir, "memory.max")) })
    }

    /// How many processes of this cgroup the kernel killed for memory so far. `None` where it does not count them.
    pub fn out_of_memory_kills(&self) -> Option<u64> {
        let v1 = || keyed(&self.memory.as_ref()?.own, "memory.oom_control", "oom_kill");
        v1().or_else(|| keyed(&self.v2.as_ref()?.own, "memory.events", "oom_kill"))
    }
}

/// One line of `/proc/self/mountinfo`.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self { root: before.next()?, point: before.next()?, kind: after.next()?, options: after.nth(1)? })
    }

    /// Where the cgroup `path` is to be seen: a container's mount may show only a part of the tree, or show the
    /// container's own cgroup as the top.
    fn folder(&self, root: &Path, path: &str) -> Folder {
        let top = root.join(self.point.trim_start_matches('/'));
        let inside = match self.root {
            "/" => Some(path),
            part => path.strip_prefix(part).filter(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        let inside =
            inside.map(|rest| rest.trim_start_matches('/')).filter(|rest| !rest.split('/').any(|one| one == ".."));
        let own = top.join(inside.unwrap_or_default());
        if own.is_dir() { Folder { own, top } } else { Folder { own: top.clone(), top } }
    }
}

/// The lowest value from a cgroup up to the topmost that can be seen.
fn lowest(folder: Option<&Folder>, value: impl Fn(&Path) -> Option<u64>) -> Option<u64> {
    let folder = folder?;
    folder.own.ancestors().take_while(|dir| dir.starts_with(&folder.top)).filter_map(value).min()
}

fn read(dir: &Path, name: &str) -> Option<String> {
    fs::read_to_string(dir.join(name)).ok()
}

fn number(dir: &Path, name: &str) -> Option<u64> {
    read(dir, name)?.trim().parse().ok()
}

fn keyed(dir: &Path, name: &str, key: &str) -> Option<u64> {
    let text = read(dir, name)?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
