//! The kernel's tables as text: `/proc/net/tcp` and `/proc/net/tcp6`.

use std::fs;
use std::io::{BufRead, BufReader, Read};

use super::Seen;

/// Larger tables are not read: at some ten thousand sockets it takes ten milliseconds.
const TABLE_MAX: u64 = 4 << 20;

/// So much of it is read at a time, and a line is not longer than that.
const PIECE: usize = 32 * 1024;
const LINE_MAX: u64 = 1024;

/// Tells of each TCP socket. `None` when no table can be read, or one is too long.
pub fn each(take: &mut dyn FnMut(Seen)) -> Option<()> {
    let mut read_any = None;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if let Ok(file) = fs::File::open(table) {
            read_any = Some(lines(file, |line| socket(line).into_iter().for_each(&mut *take))?);
        }
    }
    read_any
}

/// Line by line: as a whole it would be some megabytes for a moment, which the allocator keeps.
fn lines(table: impl Read, mut take: impl FnMut(&str)) -> Option<()> {
    let (mut length, mut line) = (0, String::new());
    let mut table = BufReader::with_capacity(PIECE, table);
    loop {
        line.clear();
        // A line of the kernel's has 150 letters.
        let read = table.by_ref().take(LINE_MAX).read_line(&mut line).ok()?;
        if read == 0 {
            return Some(());
        }
        length += u64::try_from(read).ok()?;
        if length >= TABLE_MAX {
            return None;
        }
        take(line.trim_end());
    }
}

/// One line: number, local and remote address, state, queues, timer, retransmissions, user, timeout, inode. The table's head is
/// none.
pub fn socket(line: &str) -> Option<Seen> {
    let mut fields = line.split_ascii_whitespace();
    let port = u16::from_str_radix(fields.nth(1)?.rsplit(':').next()?, 16).ok()?;
    let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
    let unread = u32::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok()?;
    let inode = fields.nth(4)?.parse().ok()?;
    Some(Seen { state, port, unread, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_read() {
        let listening = "   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0";
        assert_eq!(socket(listening), Some(Seen { state: 10, port: 8000, unread: 0, inode: 4242 }));
        let waiting = "   1: 0100007F:1F40 0100007F:D431 01 00000000:0000000A 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1";
        assert_eq!(socket(waiting), Some(Seen { state: 1, port: 8000, unread: 10, inode: 0 }));
        assert_eq!(
            socket("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"),
            None
        );
    }

    #[test]
    fn a_table_is_read_line_by_line_and_one_without_an_end_is_none() {
        let mut seen = Vec::new();
        assert_eq!(lines(&b"head\n7\n8\nno\n9"[..], |line| seen.push(line.to_string())), Some(()));
        assert_eq!(seen, ["head", "7", "8", "no", "9"]);
        assert_eq!(lines(std::io::repeat(b'7'), |_| {}), None);
    }
}
