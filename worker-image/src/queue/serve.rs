//! The thread that requests are led on: apart from the primary's loop, so that looking at workers holds up no request, and no request the workers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::LocalSet;

use primary_protocol::remote;

use super::affinity::Affinity;
use super::around::ask_around;
use super::desk::Desk;
use super::front::{Front, serve};
use super::http::Paths;
use super::ready;
use super::table::{Limits, WorkerId};
use crate::kernel::watched;

/// After a failed accept (out of descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked who has waited for too long: at least, and at the most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// How often idle connections to workers are looked at.
const SWEEPS: Duration = Duration::from_secs(1);

/// Orders that may wait.
const ORDERS: usize = 64;

/// How requests are led.
#[derive(Clone, Debug)]
pub struct Leading {
    pub limits: Limits,
    /// Whether what came before us says who the client is.
    pub trusts: bool,
    /// At most so many clients at a time; others wait in the kernel's queue.
    pub clients: usize,
    /// What a worker is asked for, to see whether it is ready.
    pub ready_path: String,
    /// The UID of this replica's pod.
    pub own: String,
    /// Paths whose requests may be answered together.
    pub together: Vec<String>,
    /// Whether they may also where the answer sets a cookie, or is for one.
    pub shares_credentials: bool,
    pub affinity: Option<Affinity>,
}

/// The thread's handle.
#[derive(Debug)]
pub struct Service {
    pub desk: Desk,
    orders: mpsc::Sender<Order>,
}

/// Ends the program with a thread, or a task that all depend on, that panics: without it nobody would be served, and nobody would know.
struct EndsAll;

impl Drop for EndsAll {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[derive(Debug)]
enum Order {
    /// Take connections from this socket.
    Open(OwnedFd),
    /// Forget a worker when its process has ended.
    Watch(WorkerId, OwnedFd),
    /// Ask a worker whether it is ready.
    Check(WorkerId),
    /// Idle connections end now.
    Close,
    /// A replica has come: connections end with an answer, one after the other.
    Spread,
}

impl Service {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn start(leading: Leading) -> io::Result<Self> {
        let desk = Desk::new(leading.limits, leading.own.clone());
        let (orders, mut ordered) = mpsc::channel(ORDERS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let own = desk.clone();
        std::thread::Builder::new().name("requests".into()).spawn(move || {
            let _ends_all = EndsAll;
            runtime.block_on(LocalSet::new().run_until(lead(own, leading, &mut ordered)));
        })?;
        Ok(Self { desk, orders })
    }

    /// Takes clients from this socket as well.
    ///
    /// # Errors
    /// Where the system gives no second descriptor of it.
    pub fn open(&self, socket: impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd().try_clone_to_owned()?;
        self.orders.try_send(Order::Open(socket)).map_err(io::Error::other)
    }

    /// Has a worker forgotten when its process has ended.
    pub fn watch(&self, worker: WorkerId, process: OwnedFd) {
        let _ = self.orders.try_send(Order::Watch(worker, process)); // else the primary's loop does it
    }

    /// These replicas serve now.
    pub fn meet(&self, list: &remote::Peers) {
        if self.desk.meet(list) {
            let _ = self.orders.try_send(Order::Spread); // where it is full, connections stay where they are
        }
    }

    /// Waits until clients have their last answers, or for so long.
    pub async fn finish(&self, patience: Duration) {
        let deadline = tokio::time::Instant::now() + patience;
        while self.desk.connections() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOKS.0).await;
        }
    }

    /// Asks a worker whether it is ready; a good answer is noted at the desk. Says whether that could be ordered.
    pub fn check(&self, worker: WorkerId) -> bool {
        self.orders.try_send(Order::Check(worker)).is_ok()
    }

    /// Whether clients are let go with their answers, so that they find another replica; new ones may still come.
    pub fn part(&self, closes: bool) {
        self.desk.part(closes);
    }

    /// Lets clients go as soon as they have their answers, and those that ask for nothing.
    pub fn close(&self) {
        self.desk.part(true);
        let _ = self.orders.try_send(Order::Close); // where it is full, the same order waits in it
    }
}

async fn lead(desk: Desk, leading: Leading, ordered: &mut mpsc::Receiver<Order>) {
    let front = Rc::new(Front {
        affinity: leading.affinity,
        together: Paths::new(leading.together),
        shares_credentials: leading.shares_credentials,
        ..Front::new(desk.clone(), leading.trusts)
    });
    let permits = Arc::new(Semaphore::new(leading.clients));
    tokio::task::spawn_local(look(desk.clone()));
    tokio::task::spawn_local(sweep(front.clone()));
    tokio::task::spawn_local(ask_around(front.clone()));
    while let Some(order) = ordered.recv().await {
        match order {
            Order::Open(socket) => {
                // The socket was opened not to block.
                if let Ok(listener) = TcpListener::from_std(std::net::TcpListener::from(socket)) {
                    tokio::task::spawn_local(accept(front.clone(), listener, permits.clone()));
                }
            }
            Order::Watch(worker, process) => {
                tokio::task::spawn_local(watch(desk.clone(), worker, process));
            }
            Order::Check(worker) => {
                let (desk, path) = (desk.clone(), leading.ready_path.clone());
                tokio::task::spawn_local(async move { ready::check(&desk, worker, &path).await });
            }
            Order::Spread => front.spread.set(Some(tokio::time::Instant::now())),
            Order::Close => {
                front.ends.set(true);
                front.closing.notify_waiters();
            }
        }
    }
}

async fn accept(front: Rc<Front>, listener: TcpListener, permits: Arc<Semaphore>) {
    let _ends_all = EndsAll;
    // What is accepted inherits it: a client that vanishes without a word is found out within two minutes.
    let _ = sockopt::set_socket_keepalive(&listener, true);
    let _ = sockopt::set_tcp_keepidle(&listener, Duration::from_secs(60));
    let _ = sockopt::set_tcp_keepintvl(&listener, Duration::from_secs(15));
    let _ = sockopt::set_tcp_keepcnt(&listener, 4);
    loop {
        let free = permits.clone().try_acquire_owned().ok();
        front.wanting.set(free.is_none());
        if free.is_none() {
            front.crowded.notify_one();
        }
        let Some(permit) = (match free {
            Some(permit) => Some(permit),
            None => permits.clone().acquire_owned().await.ok(),
        }) else {
            return;
        };
        front.wanting.set(false);
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (front, connected) = (front.clone(), front.desk.connects());
                tokio::task::spawn_local(async move {
                    serve(front, stream, peer).await;
                    drop((permit, connected));
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Forgets a worker as soon as it has ended, however busy the primary's loop is.
async fn watch(desk: Desk, worker: WorkerId, process: OwnedFd) {
    let Ok(process) = watched(process) else { return };
    if process.readable().await.is_ok() {
        desk.forget(worker);
    }
}

/// Tells those that have waited for too long, and forgets replicas of which nobody tells any more.
async fn look(desk: Desk) {
    let _ends_all = EndsAll;
    loop {
        desk.lapse();
        let next = desk.expire().unwrap_or(LOOKS.1);
        tokio::time::sleep(next.clamp(LOOKS.0, LOOKS.1)).await;
    }
}

async fn sweep(front: Rc<Front>) {
    let _ends_all = EndsAll;
    loop {
        tokio::time::sleep(SWEEPS).await;
        front.pool.borrow_mut().sweep();
    }
}
