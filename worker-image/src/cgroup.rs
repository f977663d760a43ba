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
        let v2 = lowest(self.v2.as_ref(), |dir| quota_millicores(&read(dir, "cpu.max")?));
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

    /// What the memory limit leaves, in bytes: file pages that nobody used lately count as free, as the kernel takes them
    /// back before it kills. `None` without a limit.
    pub fn free_memory(&self) -> Option<u64> {
        let Memory { usage_bytes, limit_bytes } = self.memory()?;
        let v1 = || keyed(&self.memory.as_ref()?.own, "memory.stat", "total_inactive_file");
        let reclaimable = v1().or_else(|| keyed(&self.v2.as_ref()?.own, "memory.stat", "inactive_file")).unwrap_or(0);
        Some(limit_bytes?.saturating_sub(usage_bytes.saturating_sub(reclaimable)))
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
    keyed_number(&read(dir, name)?, key)
}

/// The number in the line of `key`.
fn keyed_number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `150000 100000` of `cpu.max`; `None` for `max`.
fn quota_millicores(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok()?;
    quota.saturating_mul(1000).checked_div(period)
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! The kernel's lists and figures, from any text.

    use std::path::Path;

    use super::{Cgroups, Folder, keyed_number, quota_millicores};

    /// The list of mounts, and that of memberships, apart by an empty line.
    pub fn texts(text: &str) {
        let root = Path::new("/nonexistent");
        let (mounts, memberships) = text.split_once("\n\n").unwrap_or((text, text));
        let Cgroups { v2, cpu, cpuacct, memory } = Cgroups::find(root, mounts, memberships);
        for Folder { own, top } in [v2, cpu, cpuacct, memory].into_iter().flatten() {
            assert!(own.starts_with(&top) && top.starts_with(root), "{} in {}", own.display(), top.display());
        }
        let _ = quota_millicores(text);
        if let Some(number) = keyed_number(text, "oom_kill") {
            assert_eq!(
                keyed_number(&format!("oom 1\noom_kill_group 2\noom_kill {number}\n"), "oom_kill"),
                Some(number)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorded tree under a folder of its own.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("primary-cgroup-{}-{name}", std::process::id()));
            for (file, text) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw\n";

    #[test]
    fn version_2_in_a_container_shows_its_own_cgroup_as_the_top() {
        let tree = Tree::new(
            "v2",
            &[
                ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n"),
                ("sys/fs/cgroup/memory.current", "4096\n"),
                ("sys/fs/cgroup/memory.max", "1073741824\n"),
                ("sys/fs/cgroup/memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n"),
            ],
        );
        let cgroups = Cgroups::find(&tree.0, V2_MOUNT, "0::/\n");
        assert_eq!(cgroups.cpu(), Some(Cpu { usage_microseconds: 1234, limit_millicores: Some(1500) }));
        assert_eq!(cgroups.memory(), Some(Memory { usage_bytes: 4096, limit_bytes: Some(1 << 30) }));
        assert_eq!(cgroups.out_of_memory_kills(), Some(2));
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let tree = Tree::new(
            "nested",
            &[
                ("sys/fs/cgroup/pod/cpu.max", "200000 100000\n"),
                ("sys/fs/cgroup/pod/memory.max", "1000\n"),
                ("sys/fs/cgroup/pod/box/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/pod/box/cpu.stat", "usage_usec 7\n"),
                ("sys/fs/cgroup/pod/box/memory.current", "10\n"),
                ("sys/fs/cgroup/pod/box/memory.max", "max\n"),
            ],
        );
        let cgroups = Cgroups::find(&tree.0, V2_MOUNT, "0::/pod/box\n");
        assert_eq!(cgroups.cpu(), Some(Cpu { usage_microseconds: 7, limit_millicores: Some(2000) }));
        assert_eq!(cgroups.memory(), Some(Memory { usage_bytes: 10, limit_bytes: Some(1000) }));
    }

    #[test]
    fn version_1_beside_an_empty_version_2_is_read() {
        let mounts = "1 0 0:1 /kubepods/pod1/c1 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                      2 0 0:2 /kubepods/pod1/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                      3 0 0:3 / /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n";
        let memberships = "4:memory:/kubepods/pod1/c1\n2:cpu,cpuacct:/kubepods/pod1/c1\n0::/\n";
        let tree = Tree::new(
            "v1",
            &[
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "5000000\n"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "77\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"),
                ("sys/fs/cgroup/unified/cgroup.procs", ""),
            ],
        );
        let cgroups = Cgroups::find(&tree.0, mounts, memberships);
        assert_eq!(cgroups.cpu(), Some(Cpu { usage_microseconds: 5000, limit_millicores: Some(500) }));
        assert_eq!(cgroups.memory(), Some(Memory { usage_bytes: 77, limit_bytes: None }));
        assert_eq!(cgroups.out_of_memory_kills(), Some(5));
    }

    #[test]
    fn no_limit_is_said_as_none() {
        let tree = Tree::new(
            "none",
            &[("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"), ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")],
        );
        let mount = "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cpu rw,cpu\n";
        let cgroups = Cgroups::find(&tree.0, mount, "2:cpu:/\n");
        assert_eq!(cgroups.cpu_limit_millicores(), None);
        assert_eq!(cgroups.cpu(), None);
        assert_eq!(Cgroups::find(&tree.0, "", ""), Cgroups::default());
    }
}
