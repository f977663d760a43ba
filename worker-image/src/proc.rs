//! What only `/proc` knows: which process holds which socket, who waits on an inherited one, what it uses.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::sockets::Inodes;

/// More descriptors of one process are not looked at.
const DESCRIPTORS_MAX: usize = 16_384;

/// The processes of each process group.
pub fn groups() -> BTreeMap<u32, Vec<u32>> {
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return groups };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        if let Some(group) = group(&stat) {
            groups.entry(group).or_default().push(pid);
        }
    }
    groups
}

/// The process group in a `/proc/PID/stat`. The name in parentheses may contain anything, also parentheses and what is no
/// text: a process gives itself its name. What follows is: state, parent, group.
fn group(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// `PF_EXITING` of the kernel.
const EXITING: u64 = 4;

/// Whether a process has begun to end, or has ended: all of its threads have, from before its connections are closed, and so before anybody sees them
/// end. Of one that cannot be looked at nothing is known, and it is taken to live.
pub fn is_ending(pid: u32) -> bool {
    let is_gone =
        |error: &io::Error| error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH);
    let threads = match fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(threads) => threads,
        Err(error) => return is_gone(&error),
    };
    threads.take(DESCRIPTORS_MAX).all(|thread| match thread.and_then(|thread| fs::read(thread.path().join("stat"))) {
        Ok(stat) => flags(&stat).is_some_and(|flags| flags & EXITING != 0),
        Err(error) => is_gone(&error),
    })
}

/// The kernel's flags of a thread, in its `stat`: the ninth field.
fn flags(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().nth(6)?.parse().ok()
}

/// Whether a process has one of these sockets. `None` when its descriptors may not be seen.
pub fn holds(pid: u32, sockets: &Inodes) -> Option<bool> {
    held(pid, sockets).map(|held| !held.is_empty())
}

/// Which of these sockets a process has. `None` when its descriptors may not be seen.
pub fn held(pid: u32, sockets: &Inodes) -> Option<Inodes> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = entries.flatten().take(DESCRIPTORS_MAX).filter_map(|entry| fs::read_link(entry.path()).ok());
    Some(links.filter_map(|link| socket_number(&link)).filter(|number| sockets.contains(number)).collect())
}

/// `socket:[123]`
fn socket_number(link: &std::path::Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Whether a process waits for events of this socket with epoll, as event loops do.
pub fn polls(pid: u32, socket: u64) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let wanted = format!("ino:{socket:x}");
    entries.flatten().take(DESCRIPTORS_MAX).any(|entry| {
        let is_epoll = fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == "anon_inode:[eventpoll]");
        is_epoll
            && entry.file_name().to_str().is_some_and(|name| {
                let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).unwrap_or_default();
                names(&info, &wanted)
            })
    })
}

/// Whether one of the words of a `/proc/PID/fdinfo/FD` is this one.
fn names(info: &str, wanted: &str) -> bool {
    info.split_ascii_whitespace().any(|word| word == wanted)
}

/// What `/proc/PID/stat` says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The process group.
    pub group: u32,
    /// Processor time of it, its threads, and its children that it has collected, in ticks of the kernel's clock.
    pub ticks: u64,
}

/// The group and the processor time of each process.
pub fn times() -> BTreeMap<u32, Times> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return found };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        if let Some(times) = times_in(&stat) {
            found.insert(pid, times);
        }
    }
    found
}

/// Fields 5 (group) and 14 to 17 (times) of a `/proc/PID/stat`.
fn times_in(stat: &[u8]) -> Option<Times> {
    let group = group(stat)?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let times: Vec<u64> = fields.skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (times.len() == 4).then(|| Times { group, ticks: times.iter().fold(0, |sum, time| sum.saturating_add(*time)) })
}

/// Bytes that a process has read and written, by any system call. `None` when that may not be seen.
pub fn moved(pid: u32) -> Option<u64> {
    moved_in(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?)
}

fn moved_in(io: &str) -> Option<u64> {
    let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(field("rchar:")?.saturating_add(field("wchar:")?))
}

/// The resident memory of a process in bytes: cheap, and counts pages that are shared with others in full.
pub fn resident_memory(pid: u32) -> Option<u64> {
    resident(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?)
}

/// The proportional memory (PSS) of a process in bytes: pages that it shares count by its part. Costs the kernel a walk
/// over all of its pages. `None` when that may not be seen.
pub fn proportional_memory(pid: u32) -> Option<u64> {
    proportional(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn proportional(rollup: &str) -> Option<u64> {
    let kibibytes = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB"))?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The resident memory of this process in bytes.
pub fn own_memory() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/statm").ok()?)
}

fn resident(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    //! The kernel's tables, from any bytes.

    use super::{group, moved_in, names, proportional, resident, socket_number, times_in};

    /// Each in turn.
    pub fn texts(data: &[u8]) {
        // However a process calls itself, it is found in its group.
        let named = [b"7 (", data, b") S 1 42 42 0"].concat();
        assert_eq!(group(&named), Some(42));
        let _ = group(data);
        let text = String::from_utf8_lossy(data);
        for line in text.lines() {
            let _ = socket_number(std::path::Path::new(line));
        }
        let _ = (names(&text, "ino:1"), resident(&text), moved_in(&text), proportional(&text));
        let named = [b"7 (", data, b") S 1 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20"].concat();
        assert_eq!(times_in(&named).map(|times| (times.group, times.ticks)), Some((42, 100)));
        let _ = times_in(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_killed_is_ending_before_anybody_has_collected_it() {
        assert!(!is_ending(std::process::id()));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!is_ending(child.id()));
        child.kill().unwrap();
        while !is_ending(child.id()) {
            std::thread::yield_now(); // it is not on its way before the kernel has it run
        }
        child.wait().unwrap();
        assert!(is_ending(child.id()), "and none at all has ended");
        assert_eq!(flags(b"7 (a) b)) S 1 7 7 0 -1 4194308 1"), Some(4_194_308));
    }

    #[test]
    fn a_process_is_found_in_its_group_whatever_it_calls_itself() {
        assert_eq!(group(b"7 (node) S 1 42 42 0"), Some(42));
        assert_eq!(group(b"7 (a) b\xff) S 1 42 42 0"), Some(42));
    }

    #[test]
    fn this_process_and_its_sockets_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = crate::sockets::listening_on(listener.local_addr().unwrap().port()).unwrap();
        assert_eq!(listening.len(), 1);
        assert_eq!(holds(std::process::id(), &listening), Some(true));
        assert_eq!(holds(std::process::id(), &Inodes::new()), Some(false));
        assert!(groups().values().flatten().any(|pid| *pid == std::process::id()));
    }
}
