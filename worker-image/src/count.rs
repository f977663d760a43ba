//! How many workers `max` means: what the container may use, never what the machine has.

use std::path::Path;

use crate::cgroup::Cgroups;
use crate::config::Count;

/// What is known about processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// The cgroup's limit in thousandths.
    pub limit_millicores: Option<u64>,
    /// The pod's request in thousandths, 0 for none.
    pub request_millicores: u64,
    /// Processors in the affinity mask.
    pub affinity: u32,
    /// Whether this is a container.
    pub in_container: bool,
}

impl Processors {
    /// Asks the kernel.
    pub fn of_this_process(cgroups: &Cgroups, request_millicores: u64) -> Self {
        // Not std's available_parallelism: that one takes cgroup quotas in too, and rounds them down.
        let affinity = rustix::thread::sched_getaffinity(None).map_or(1, |mask| mask.count());
        let marked = || ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists());
        let told = || ["KUBERNETES_SERVICE_HOST", "container"].iter().any(|name| std::env::var_os(name).is_some());
        Self {
            limit_millicores: cgroups.cpu_limit_millicores(),
            request_millicores,
            affinity,
            in_container: std::process::id() == 1 || told() || marked(),
        }
    }

    /// How many processes can run at the same time.
    pub fn at_once(self) -> u32 {
        let limit = self.limit_millicores.and_then(|limit| u32::try_from(limit.div_ceil(1000)).ok());
        limit.unwrap_or(u32::MAX).clamp(1, self.affinity.max(1))
    }

    /// The limit, rounded up; else the request; else 1 in a container, and outside all that the process may run on.
    fn auto(self) -> u32 {
        let whole = |millicores: u64| u32::try_from(millicores.div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        let wanted = match self {
            Self { limit_millicores: Some(limit), .. } => whole(limit),
            Self { request_millicores: request @ 1.., .. } => whole(request),
            Self { in_container: true, .. } => 1,
            _ => self.affinity,
        };
        wanted.min(self.affinity.max(1))
    }
}

/// The number of workers to keep.
pub fn resolve(count: Count, processors: Processors) -> u32 {
    match count {
        Count::Fixed(number) => number.get(),
        Count::Auto => processors.auto(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Processors =
        Processors { limit_millicores: None, request_millicores: 0, affinity: 8, in_container: true };

    #[test]
    fn max_follows_the_limit_then_the_request_then_the_place() {
        let cases = [
            (Processors { limit_millicores: Some(2000), ..BARE }, 2, "a whole limit"),
            (Processors { limit_millicores: Some(1500), ..BARE }, 2, "a fractional limit rounds up"),
            (Processors { limit_millicores: Some(100), ..BARE }, 1, "at least one"),
            (Processors { limit_millicores: Some(1000), request_millicores: 4000, ..BARE }, 1, "the limit wins"),
            (Processors { request_millicores: 2500, ..BARE }, 3, "the request without a limit"),
            (BARE, 1, "neither, in a container: never the machine's"),
            (Processors { in_container: false, ..BARE }, 8, "outside a container the affinity mask"),
            (Processors { limit_millicores: Some(16_000), ..BARE }, 8, "no more than the process may run on"),
        ];
        for (processors, expected, why) in cases {
            assert_eq!(resolve(Count::Auto, processors), expected, "{why}");
        }
    }

    #[test]
    fn as_many_run_at_the_same_time_as_the_limit_and_the_mask_allow() {
        for (limit_millicores, at_once) in [(None, 8), (Some(1500), 2), (Some(100), 1), (Some(64_000), 8), (Some(0), 1)]
        {
            assert_eq!(Processors { limit_millicores, ..BARE }.at_once(), at_once, "{limit_millicores:?}");
        }
    }
}
