//! What the proxy is to do and what it has seen. Which call is how many-th of its kind is counted from the moment a plan begins.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::answer::{Answer, Reply};
use crate::{
    call::{Call, Verb},
    chance::Chance,
    fault::{Action, Fault},
};

/// One call, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its kind.
    pub call: Call,
    /// The how many-th of its kind.
    pub nth: u32,
    /// The code of the answer, or the action; empty while it goes on.
    pub outcome: String,
}

/// Faults at random.
#[derive(Clone, Debug)]
pub struct Noise {
    /// In a hundred calls.
    pub percent: usize,
    /// Of the choice.
    pub seed: u64,
    /// From these, each as likely.
    pub actions: Vec<Action>,
    /// Calls of these classes are left alone.
    pub spared: Vec<String>,
}

/// Shared by all connections.
#[derive(Default)]
pub struct State(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    faults: Vec<(Fault, bool)>,
    noise: Option<(Noise, Chance)>,
    counts: HashMap<Call, u32>,
    seen: Vec<Seen>,
    /// The last version of each object that an answer has shown, by UID.
    versions: HashMap<String, String>,
    unchanged: Vec<String>,
    /// Calls that noise has hit.
    hit: BTreeMap<String, usize>,
}

// === impl State ===

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a plan: counts anew.
    pub fn begin(&self, faults: Vec<Fault>) {
        let faults = faults.into_iter().map(|fault| (fault, false)).collect();
        let versions = std::mem::take(&mut self.inner().versions);
        *self.inner() = Inner { faults, versions, ..Inner::default() };
    }

    /// Faults at random from now on, or none.
    pub fn noise(&self, noise: Option<Noise>) {
        self.inner().noise = noise.map(|noise| {
            let chance = Chance::new(noise.seed);
            (noise, chance)
        });
    }

    /// Faults of the plan that have not happened.
    pub fn unfired(&self) -> usize {
        self.inner().faults.iter().filter(|(_, fired)| !fired).count()
    }

    /// The calls since the plan began, without lines of watches.
    pub fn calls(&self) -> Vec<Seen> {
        self.inner().seen.iter().filter(|seen| seen.call.verb != Verb::Event).cloned().collect()
    }

    /// How many calls there were since the plan began, without those about the Lease, which come with time and not with work.
    pub fn worked(&self) -> usize {
        let inner = self.inner();
        let counted = inner.counts.iter().filter(|(call, _)| call.verb != Verb::Event && call.class != "leases");
        counted.map(|(_, count)| *count as usize).sum()
    }

    /// How many calls and lines of each kind there were.
    pub fn counts(&self) -> BTreeMap<Call, u32> {
        self.inner().counts.iter().map(|(call, count)| (call.clone(), *count)).collect()
    }

    /// Creates and deletes of pods of the plan that were done without the operator's knowing, and after which it has not asked for the pods: a
    /// watch may be behind, so that what it decides next would rest on what was.
    pub fn unlooked(&self) -> Vec<String> {
        let inner = self.inner();
        let writes =
            |fault: &Fault| matches!(fault.call.verb, Verb::Create | Verb::Delete) && fault.call.class == "pods";
        let looks = |seen: &Seen| seen.call.verb == Verb::List && seen.call.class == "pods";
        let unlooked = |fault: &Fault| {
            let place = inner.seen.iter().position(|seen| seen.call == fault.call && seen.nth == fault.nth);
            place.is_some_and(|place| !inner.seen[place..].iter().any(looks))
        };
        let faults = inner.faults.iter().map(|(fault, _)| fault);
        let doubtful = faults.filter(|fault| writes(fault) && fault.action.leaves_doubt());
        doubtful.filter(|fault| unlooked(fault)).map(ToString::to_string).collect()
    }

    /// Calls that noise has hit, by action.
    pub fn hit(&self) -> BTreeMap<String, usize> {
        self.inner().hit.clone()
    }

    /// Writes that changed nothing.
    pub fn unchanged(&self) -> Vec<String> {
        self.inner().unchanged.clone()
    }

    /// What is to happen to this call; the number is its place for [`State::done`].
    pub fn decide(&self, call: &Call) -> (usize, Option<Action>) {
        let mut inner = self.inner();
        let (nth, action) = inner.next(call);
        let action = action.or_else(|| inner.noisy(call));
        inner.seen.push(Seen { call: call.clone(), nth, outcome: String::new() });
        (inner.seen.len() - 1, action)
    }

    /// What is to happen to a line of a watch of `class`.
    pub fn line(&self, class: &str) -> Option<Action> {
        self.inner().next(&Call::new(Verb::Event, class)).1
    }

    /// What became of a call. One of a plan before is not known any more.
    pub fn done(&self, place: usize, outcome: &str) {
        if let Some(seen) = self.inner().seen.get_mut(place) {
            outcome.clone_into(&mut seen.outcome);
        }
    }

    /// Takes note of the version that an answer shows, and of a write that left it as it was.
    pub fn changed(&self, call: &Call, reply: &Reply) {
        let Answer::Whole(bytes, _) = reply.body() else { return };
        if !reply.status().is_success() || matches!(call.verb, Verb::List | Verb::DryRun) {
            return;
        }
        let object: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |key: &str| object["metadata"][key].as_str().map(str::to_owned);
        let (Some(uid), Some(version)) = (text("uid"), text("resourceVersion")) else { return };
        let mut inner = self.inner();
        let before = inner.versions.insert(uid, version.clone());
        let writes = matches!(call.verb, Verb::Update | Verb::Patch | Verb::Apply);
        if writes && before.as_ref() == Some(&version) {
            inner.unchanged.push(format!("{call} of {}", text("name").unwrap_or_default()));
        }
    }
}

// === impl Inner ===

impl Inner {
    fn next(&mut self, call: &Call) -> (u32, Option<Action>) {
        let count = self.counts.entry(call.clone()).or_default();
        *count += 1;
        let nth = *count;
        let due = self.faults.iter_mut().find(|(fault, fired)| !fired && fault.call == *call && fault.nth == nth);
        let action = due.map(|(fault, fired)| {
            *fired = true;
            fault.action
        });
        (nth, action)
    }

    fn noisy(&mut self, call: &Call) -> Option<Action> {
        let (noise, chance) = self.noise.as_mut()?;
        if noise.spared.contains(&call.class) || chance.below(100) >= noise.percent {
            return None;
        }
        let action = *chance.choose(&noise.actions)?;
        *self.hit.entry(action.to_string()).or_default() += 1;
        Some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_once_and_at_its_call() {
        let state = State::default();
        let call = Call::new(Verb::Create, "pods");
        state.begin(vec![Fault { call: call.clone(), nth: 2, action: Action::Drop }]);
        let decide = || state.decide(&call).1;
        assert_eq!([decide(), decide(), decide()], [None, Some(Action::Drop), None]);
        assert_eq!(state.unfired(), 0);
        state.begin(Vec::new());
        assert_eq!(state.calls().len(), 0);
    }

    #[test]
    fn a_doubtful_write_of_a_pod_asks_for_a_look() {
        let state = State::default();
        let delete = |nth, action| Fault::new(Verb::Delete, "pods", nth, action);
        state.begin(vec![delete(1, Action::Drop), delete(2, Action::Reset), delete(3, Action::Garble(504))]);
        let call = |verb| {
            state.decide(&Call::new(verb, "pods"));
        };
        [Verb::List, Verb::Delete, Verb::Delete].into_iter().for_each(call);
        assert_eq!(state.unlooked(), ["delete:pods#2=reset"]);
        call(Verb::List);
        assert_eq!(state.unlooked(), [""; 0]);
        call(Verb::Delete);
        assert_eq!(state.unlooked(), ["delete:pods#3=garble-504"]);
    }

    #[test]
    fn noise_hits_about_as_many_as_it_should_and_spares_what_it_should() {
        let state = State::default();
        let noise = Noise { percent: 10, seed: 1, actions: vec![Action::Drop], spared: vec!["leases".into()] };
        state.noise(Some(noise));
        let hits = |class: &str| (0..1000).filter(|_| state.decide(&Call::new(Verb::Get, class)).1.is_some()).count();
        assert!((60..140).contains(&hits("pods")));
        assert_eq!(hits("leases"), 0);
    }

    #[test]
    fn a_write_that_leaves_the_version_as_it_was_is_told() {
        let state = State::default();
        let reply = |version: &str| {
            let body = serde_json::json!({"metadata": {"uid": "u", "name": "web", "resourceVersion": version}});
            super::super::whole(http::StatusCode::OK, body.to_string().into())
        };
        let apply = Call::new(Verb::Apply, "services");
        state.changed(&apply, &reply("1"));
        state.changed(&apply, &reply("2"));
        assert_eq!(state.unchanged(), [""; 0]);
        state.changed(&apply, &reply("2"));
        assert_eq!(state.unchanged(), ["apply:services of web"]);
    }
}
