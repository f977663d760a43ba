//! What the kernel shows in `/proc`, in `/sys/fs/cgroup` and of its sockets; some of it a worker has written.

/// All of them from the same bytes: the words of one are soon those of another.
pub(super) fn files(data: &[u8]) {
    crate::proc::fuzzing::texts(data);
    crate::sockets::fuzzing::answers(data);
    crate::cgroup::fuzzing::texts(&String::from_utf8_lossy(data));
}
