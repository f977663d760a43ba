//! Orders of the operator over the network, carried out.

use primary_protocol::remote::{PEERS_MAX, Peers, Wanted};
use primary_protocol::{Orders, Told};
use serde::Deserialize;
use serde_json::json;

use super::Primary;
use crate::admin::Reply;
use crate::log::Level;
use crate::machine::{Event, Moment, Order, milliseconds};
use crate::remote::{self, Guard, Refusal, Refusals, Signed};

/// Names of revisions and of reloads are not longer.
const NAME_MAX: usize = 64;

/// What of an order is so whatever becomes of the settings beside it, and is read also where those are of another version.
#[derive(Deserialize)]
struct Standing {
    #[serde(default)]
    drained: bool,
    peers: Option<Peers>,
}

/// What the primary keeps about such orders.
#[derive(Debug)]
pub(super) struct Remote {
    pub guard: Guard,
    /// What was ordered last. `None` where nobody may order.
    pub told: Option<Told>,
    /// Whether the replica was to be out of service by the order that came last, taken or not.
    pub withdrawn: Option<bool>,
    /// When the peers in it were told.
    pub listed: Option<Moment>,
    pub taken: u64,
    pub refusals: Refusals,
}

impl Remote {
    /// What was ordered last, as it is told.
    pub fn told(&self, now: Moment) -> Option<Told> {
        let age = self.listed.map(|listed| milliseconds(now.saturating_sub(listed)));
        self.told.clone().map(|told| Told { peers_age_milliseconds: age, ..told })
    }

    /// How many there were.
    pub fn orders(&self) -> Orders {
        let refused = Refusal::ALL.into_iter().map(|(refusal, label)| (label.to_string(), self.refusals.of(refusal)));
        Orders { taken: self.taken, refused: refused.filter(|(_, count)| *count > 0).collect() }
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
}

impl Primary {
    pub(super) fn give_nonce(&mut self) -> Reply {
        let now = self.now();
        Reply::Nonce(self.remote.guard.nonce(now))
    }

    /// Checks who orders it, and what; then does it.
    pub(super) fn on_signed(&mut self, order: &Signed) -> Reply {
        if let Err(refusal) = self.remote.guard.check(order, self.now()) {
            self.remote.refusals.add(refusal);
            // Whoever can reach the port can send nonsense without end: the log gets less and less of it.
            let count = self.remote.refusals.of(refusal);
            if count.is_power_of_two() {
                let fields = [("event", json!("orderRefused")), ("count", json!(count))];
                self.log.write(Level::Warning, &format!("an order over the network was refused: {refusal}"), &fields);
            }
            return Reply::Forbidden(refusal);
        }
        match self.carry_out_wanted(&order.body) {
            Ok(()) => {
                self.remote.taken = self.remote.taken.saturating_add(1);
                Reply::Stats(Box::new(self.stats()))
            }
            Err(why) => Reply::Refused(why),
        }
    }

    /// All of it, or nothing; but for the other replicas, and whether this one serves, which are as they are whatever becomes of the settings.
    fn carry_out_wanted(&mut self, body: &[u8]) -> Result<(), String> {
        let unknown = |error| format!("not an order that this primary knows: {error}");
        let standing: Standing = serde_json::from_slice(body).map_err(unknown)?;
        if standing.peers.as_ref().is_some_and(|peers| peers.members.len() > PEERS_MAX || !is_name(&peers.revision)) {
            return Err(format!(
                "peers: give {PEERS_MAX} members at the most, and a revision from 1 to {NAME_MAX} letters"
            ));
        }
        self.meet(standing.peers.as_ref());
        let withdrawal = if standing.drained { Order::Drain { slot: None } } else { Order::Undrain { slot: None } };
        // Once: an order that is refused comes again, and what people have set since stays.
        if self.remote.withdrawn != Some(standing.drained) {
            self.machine.check(&withdrawal).map_err(|refusal| refusal.to_string())?;
            self.remote.withdrawn = Some(standing.drained);
            self.feed(Event::Order(withdrawal.clone()));
        }
        let wanted: Wanted = serde_json::from_slice(body).map_err(unknown)?;
        let names = [Some(&wanted.revision), wanted.reload.as_ref().map(|reload| &reload.id)];
        if !names.into_iter().flatten().all(|name| is_name(name)) {
            return Err(format!("revision and reload.id: give from 1 to {NAME_MAX} letters"));
        }
        if self.remote.told.as_ref().is_some_and(|told| told.revision == wanted.revision) {
            return Ok(()); // what people have set since stays
        }
        let settings = remote::settings(&wanted.workers, self.machine.settings(), self.processors)?;
        let mut orders = vec![Order::Configure(Box::new(settings)), withdrawal];
        let before = self.remote.told.as_ref().and_then(|told| told.reload.as_ref());
        if let Some(reload) = wanted.reload.as_ref().filter(|reload| before != Some(&reload.id)) {
            if reload.at_once == 0 {
                return Err("reload.atOnce: give a number from 1".to_string());
            }
            orders.push(Order::Reload { at_once: reload.at_once });
        }
        for order in &orders {
            self.machine.check(order).map_err(|refusal| refusal.to_string())?;
        }
        let before = before.cloned();
        self.resize.count = remote::count(&wanted.workers)?;
        self.remote.told = Some(Told {
            revision: wanted.revision,
            reload: wanted.reload.map(|reload| reload.id).or(before),
            peers: wanted.peers.map(|peers| peers.revision),
            peers_age_milliseconds: None,
        });
        self.sample_now(false); // whether there is room for two depends on it
        for order in orders {
            self.feed(Event::Order(order));
        }
        Ok(())
    }

    fn meet(&mut self, peers: Option<&Peers>) {
        let Some(peers) = peers else { return };
        if let Some(queue) = &self.queue {
            queue.meet(peers);
        }
        self.remote.listed = Some(self.now());
        if let Some(told) = &mut self.remote.told {
            told.peers = Some(peers.revision.clone());
        }
    }
}
