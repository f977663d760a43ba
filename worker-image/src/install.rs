//! `primary install DIR`: the executable copies itself, for the init container of a pod whose image is not ours.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Everybody may run it: the worker container has a user of its own.
const MODE: u32 = 0o755;

/// Why the executable could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {cause}. `primary install DIR` needs an existing folder that it may write to", path.display())]
pub struct InstallError {
    action: &'static str,
    path: PathBuf,
    cause: io::Error,
}

/// Copies this executable to `dir/primary`: a reader sees the old file or the whole new one, never a part.
///
/// # Errors
/// When the executable cannot be read or the folder not be written to.
pub fn install(dir: &Path) -> Result<PathBuf, InstallError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |cause| InstallError { action, path, cause }
    };
    let source = Path::new("/proc/self/exe");
    let target = dir.join("primary");
    let partial = dir.join(format!(".primary.{}", std::process::id()));
    let copied = (|| {
        let mut from = File::open(source).map_err(failed("read", source))?;
        let mut options = OpenOptions::new();
        let mut to = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&partial)
            .map_err(failed("create", &partial))?;
        io::copy(&mut from, &mut to).map_err(failed("write", &partial))?;
        // Again, because the umask may have taken something away.
        to.set_permissions(Permissions::from_mode(MODE)).map_err(failed("change the mode of", &partial))?;
        to.sync_all().map_err(failed("write", &partial))?;
        fs::rename(&partial, &target).map_err(failed("replace", &target))
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&partial);
    }
    copied.map(|()| target)
}
