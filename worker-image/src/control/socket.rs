//! Where the control socket is. Abstract unless a path is given: it needs no folder that can be written, nothing is left
//! behind by a kill, and what a file's mode would do is done by asking the kernel who the other end is.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Before the names of all control sockets: `workercluster/ctl/NAME/PID`.
const PREFIX: &str = "workercluster/ctl/";

/// In the place of the name, where there is none.
const NAMELESS: &str = "-";

/// Where the control socket is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under a name that `primary ctl` finds.
    Abstract,
    /// A file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Abstract),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
            _ => Err("give `auto`, `off`, or a path that begins with /".to_string()),
        }
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[error("--control {}: {cause}. Give a path in an existing folder of yours, where no file is, or `auto`", path.display())]
pub struct OpenError {
    path: PathBuf,
    cause: io::Error,
}

/// Opens it.
///
/// # Errors
/// When a file cannot be made there. One of a primary that has ended is replaced.
pub fn open(place: &Place, name: Option<&str>) -> Result<Option<UnixListener>, OpenError> {
    let (listener, path) = match place {
        Place::Off => return Ok(None),
        Place::Abstract => {
            let name = abstract_name(name, std::process::id());
            let address = SocketAddr::from_abstract_name(&name);
            (address.and_then(|address| UnixListener::bind_addr(&address)), PathBuf::from(name))
        }
        Place::File(path) => (open_file(path), path.clone()),
    };
    let ready = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    ready.map(Some).map_err(|cause| OpenError { path, cause })
}

fn open_file(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        // The socket of a primary that was killed: nobody answers there any more.
        Err(taken) if taken.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path)
        .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
    is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A slash in a name would look like the end of it.
fn abstract_name(name: Option<&str>, pid: u32) -> String {
    let name: String =
        name.unwrap_or(NAMELESS).chars().map(|letter| if letter == '/' { '_' } else { letter }).collect();
    // The kernel has room for 107 bytes.
    let end = (0..=name.len().min(64)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or_default();
    format!("{PREFIX}{}/{pid}", name.get(..end).unwrap_or_default())
}

/// A primary that runs in this network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The name, where it has one.
    pub name: Option<String>,
    /// The process id, as the primary knows it.
    pub pid: u32,
}

impl Found {
    /// The abstract name of its socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(abstract_name(self.name.as_deref(), self.pid))
    }
}

/// All primaries that run here, from the kernel's table of unix sockets.
pub fn find() -> io::Result<Vec<Found>> {
    Ok(found_in(&std::fs::read_to_string("/proc/net/unix")?))
}

fn found_in(table: &str) -> Vec<Found> {
    let mut found: Vec<Found> = table.lines().filter_map(found_in_line).collect();
    found.sort();
    found.dedup(); // a connection has its listener's name as well
    found
}

/// `…: 00000002 00000000 00010000 0001 01 12345 @workercluster/ctl/NAME/PID`
fn found_in_line(line: &str) -> Option<Found> {
    let (_, name) = line.split_once(&format!(" @{PREFIX}"))?;
    let (name, pid) = name.rsplit_once('/')?;
    let pid = pid.parse().ok()?;
    Some(Found { name: (name != NAMELESS).then(|| name.to_string()), pid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_auto_off_or_a_path() {
        assert_eq!("auto".parse(), Ok(Place::Abstract));
        assert_eq!("off".parse(), Ok(Place::Off));
        assert_eq!("/run/x.sock".parse(), Ok(Place::File("/run/x.sock".into())));
        assert!("x.sock".parse::<Place>().unwrap_err().contains("begins with /"));
    }

    #[test]
    fn primaries_are_found_by_their_names() {
        let table = "Num RefCount Protocol Flags Type St Inode Path\n\
                     0000: 00000002 00000000 00010000 0001 01 11 @workercluster/ctl/web app/41\n\
                     0000: 00000003 00000000 00000000 0001 03 12 @workercluster/ctl/web app/41\n\
                     0000: 00000002 00000000 00010000 0001 01 13 @workercluster/ctl/-/7\n\
                     0000: 00000002 00000000 00010000 0002 01 14 @workercluster/0123456789abcdef/1\n\
                     0000: 00000002 00000000 00010000 0001 01 15 /run/other.sock\n\
                     0000: 00000002 00000000 00010000 0001 01 16 @workercluster/ctl/nonsense\n";
        let expected = [Found { name: None, pid: 7 }, Found { name: Some("web app".into()), pid: 41 }];
        assert_eq!(found_in(table), expected);
    }

    #[test]
    fn any_name_fits_into_an_address() {
        for name in ["", "a/b", &"ü".repeat(200), "web"] {
            let made = abstract_name(Some(name), u32::MAX);
            assert!(made.len() <= 107, "{made}");
            assert!(SocketAddr::from_abstract_name(&made).is_ok());
        }
    }
}
