//! Affinity: a client comes back to the worker that answered it first. A cookie of ours says which one that was, so that nobody has to remember it.

use super::desk::{Desk, Peer};
use super::table::WorkerId;

/// The cookie, and which of the primaries that a pod has had one after the other this one is: numbers of workers begin anew with each.
#[derive(Clone, Debug)]
pub struct Affinity {
    pub cookie: String,
    pub began: u64,
}

/// Where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Anywhere: it has no cookie, or its worker is gone.
    None,
    Worker(WorkerId),
    /// To a worker of another replica, which knows more.
    Peer(Peer),
}

impl Affinity {
    /// What the cookie of a client says. Whatever a client says there, it gets no more than a worker of its own choice.
    pub fn wish(&self, desk: &Desk, value: Option<&str>) -> Wish {
        let Some((tag, began, worker)) = value.and_then(read) else { return Wish::None };
        if tag != desk.own_tag() {
            return desk.tagged(tag).map_or(Wish::None, Wish::Peer);
        }
        if began == self.began && desk.is_chosen(worker) { Wish::Worker(worker) } else { Wish::None }
    }

    /// The field that gives a client the cookie.
    pub fn cookie(&self, own_tag: &str, worker: WorkerId) -> Vec<u8> {
        let (name, began) = (&self.cookie, self.began);
        format!("set-cookie: {name}={own_tag}.{began:x}.{worker:x}; Path=/; HttpOnly; SameSite=Lax\r\n").into_bytes()
    }
}

fn read(value: &str) -> Option<(&str, u64, WorkerId)> {
    let mut parts = value.split('.');
    let (tag, began, worker) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    parts.next().is_none().then_some((tag, number(began)?, number(worker)?))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use primary_protocol::remote;

    use super::super::table::Limits;
    use super::*;

    #[test]
    fn a_cookie_leads_back_to_its_worker_for_as_long_as_that_gets_requests() {
        let limits = Limits { cap: 1, waiting: 2, wait: Duration::from_secs(1), deaths: 2 };
        let desk = Desk::new(limits, "a".into());
        let address = SocketAddr::from(([10, 0, 0, 2], 80));
        let peer = |id: &str| remote::Peer { id: id.into(), address, leaving: false };
        desk.meet(&remote::Peers { revision: "1".into(), members: vec![peer("a"), peer("b")], all: 2 });
        desk.admit(7, address, None);
        desk.choose([7].into());
        let affinity = Affinity { cookie: "to".into(), began: 0xabc };
        let field = String::from_utf8(affinity.cookie(&desk.own_tag(), 7)).unwrap();
        let value = field.strip_prefix("set-cookie: to=").unwrap().split(';').next().unwrap();
        assert_eq!(affinity.wish(&desk, Some(value)), Wish::Worker(7));
        assert_eq!(
            Affinity { began: 1, ..affinity.clone() }.wish(&desk, Some(value)),
            Wish::None,
            "another primary's 7"
        );
        let foreign = value.replace(&desk.own_tag(), &Desk::new(limits, "b".into()).own_tag());
        assert_eq!(affinity.wish(&desk, Some(&foreign)), Wish::Peer(Peer { id: "b".into(), address }));
        for other in ["", "x", "x.1.2", "..", "a.b.c.d", &format!("{value}.1"), &value.replace(".7", ".8")] {
            assert_eq!(affinity.wish(&desk, Some(other)), Wish::None, "{other}");
        }
        desk.choose([].into());
        assert_eq!(affinity.wish(&desk, Some(value)), Wish::None);
        assert_eq!(affinity.wish(&desk, None), Wish::None);
    }
}
