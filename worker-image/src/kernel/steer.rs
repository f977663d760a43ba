//! Chooses which of several sockets on one port a new connection goes to.

use std::io;
use std::os::fd::AsFd;

use super::filter::{attach, instruction};

/// Where a classic BPF program finds the kernel's own figures (`SKF_AD_OFF`), and which of them is a random number (`SKF_AD_RANDOM`).
const ANCILLARY: u32 = 0xffff_f000;
const RANDOM: u32 = 56;

/// Classic BPF has no longer programs (`BPF_MAXINSNS`); each member takes two instructions.
pub const MEMBERS_MAX: usize = 1024;

/// Lets connections to a group of SO_REUSEPORT sockets go to these members only, each as likely as its weight has it among all of them. A member is
/// the number of a socket in the order in which they began to listen. `of` is any of them. Without members, or where all weigh nothing,
/// nothing is changed. Needs no privilege; takes effect for the next connection, and leaves alone what waits in a queue.
///
/// # Errors
/// When the kernel refuses the program.
pub fn steer(of: impl AsFd, members: &[(u32, u32)]) -> io::Result<()> {
    let all = members.iter().fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight));
    if all == 0 || members.len() > MEMBERS_MAX {
        return Ok(());
    }
    let mut program = vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, ANCILLARY + RANDOM),
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, all),
    ];
    let mut below = 0_u32;
    for (member, weight) in members {
        below = below.saturating_add(*weight);
        // From here on it is another's.
        program.push(instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 0, below));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, *member));
    }
    // Never reached: a program has to end with a return.
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX));
    attach(of, libc::SO_ATTACH_REUSEPORT_CBPF, &mut program)
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::listener;

    #[test]
    fn connections_come_as_the_weights_say() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let first = listener::open_dual(any, true).unwrap();
        let address = listener::local_address(&first).unwrap();
        let others = [(); 2].map(|()| listener::open_dual(address, true).unwrap());
        let sockets = [&first, &others[0], &others[1]];
        steer(&first, &[(0, 1), (2, 3)]).unwrap();
        let clients: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(address).unwrap()).collect();
        // A client is connected a moment before the server's side is.
        let depths = || sockets.map(|socket| listener::queue(socket).unwrap().depth);
        let begun = std::time::Instant::now();
        while depths().iter().sum::<u32>() < 400 && begun.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        let waiting = depths();
        // A quarter of 400 is 100, and five times the standard deviation is 43.
        assert!((57..=143).contains(&waiting[0]) && waiting[1] == 0, "{waiting:?} of {}", clients.len());
        assert_eq!(waiting.iter().sum::<u32>(), 400);
        steer(&first, &[]).unwrap();
        steer(&first, &[(0, 0)]).unwrap();
        drop(TcpStream::connect(address).unwrap());
    }
}
