//! Which replicas replace their workers next, after `kubectl wc reload`: one replica at a time, and no further after one whose fresh workers
//! did not get ready.

use primary_protocol::{Reload, Told};

/// A pod, as far as the decision goes.
#[derive(Clone, Copy, Debug)]
pub struct Replica<'a> {
    pub name: &'a str,
    pub uid: &'a str,
    /// Ready, or not so by its user's own wish: in service as far as it is to be.
    pub ready: bool,
    /// Its primary has been asked in this term, or cannot be yet.
    pub heard: bool,
    /// What its primary was told last; `None` where it takes no orders, or does not answer.
    pub told: Option<&'a Told>,
    /// Its last reload.
    pub reload: Option<&'a Reload>,
}

/// What to do, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// UIDs of the pods that are to have this reload: those that had it, and the next.
    pub ordered: Vec<String>,
    /// Pods that have fresh workers, or were made after the order.
    pub done: usize,
    /// Pods that can be told.
    pub all: usize,
    /// Name of the pod that it failed in, and why. The rest keeps its workers.
    pub failure: Option<(String, String)>,
    /// Name of the pod that is not ready, where the next waits for it.
    pub waits_for: Option<String>,
}

/// Where one replica is with a reload.
enum Step<'a> {
    Before,
    UnderWay,
    Done,
    Failed(&'a str),
}

/// Decides about the reload `id`, over pods in the order in which they are to have it.
pub fn plan(id: &str, replicas: &[Replica<'_>]) -> Plan {
    let mut plan = Plan::default();
    let mut next = None;
    let mut under_way = false;
    for replica in replicas {
        if !replica.heard {
            // It may be the one that is at it.
            plan.all += 1;
            under_way = true;
            continue;
        }
        let Some(step) = step(id, replica) else { continue };
        plan.all += 1;
        match step {
            Step::Before => {
                next = next.or(Some(replica));
                continue;
            }
            Step::UnderWay => under_way = true,
            Step::Done => plan.done += 1,
            Step::Failed(why) => {
                plan.failure = plan.failure.or_else(|| Some((replica.name.to_owned(), why.to_owned())));
            }
        }
        plan.ordered.push(replica.uid.to_owned());
    }
    // While one is not ready, the others serve for it.
    let absent = replicas.iter().find(|replica| !replica.ready);
    match (next.filter(|_| !under_way && plan.failure.is_none()), absent) {
        (Some(next), None) => plan.ordered.push(next.uid.to_owned()),
        (Some(_), Some(absent)) => plan.waits_for = Some(absent.name.to_owned()),
        (None, _) => {}
    }
    plan
}

fn step<'a>(id: &str, replica: &Replica<'a>) -> Option<Step<'a>> {
    if replica.told?.reload.as_deref() != Some(id) {
        return Some(Step::Before);
    }
    Some(match replica.reload {
        Some(Reload { failure: Some(why), .. }) => Step::Failed(why),
        Some(Reload { ended: false, .. }) => Step::UnderWay,
        // Without one it was made after the order, and its workers are fresh.
        Some(_) | None => Step::Done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reload: Option<&str>) -> Told {
        Told { revision: "r".into(), reload: reload.map(Into::into), peers: None, peers_age_milliseconds: None }
    }

    fn reload(ended: bool, failure: Option<&str>) -> Reload {
        Reload { number: 1, slots: 2, done: 1, ended, failure: failure.map(Into::into) }
    }

    #[test]
    fn one_replica_after_another() {
        let (new, old) = (told(Some("x")), told(Some("w")));
        let (ended, running) = (reload(true, None), reload(false, None));
        let at = |name: &'static str, told, reload| Replica {
            name,
            uid: name,
            ready: true,
            heard: true,
            told: Some(told),
            reload,
        };
        let before = [at("a", &old, Some(&ended)), at("b", &old, None), at("c", &old, None)];
        let begun = plan("x", &before);
        assert_eq!((begun.ordered, begun.done, begun.all), (vec!["a".to_owned()], 0, 3));
        let under_way = [at("a", &new, Some(&running)), at("b", &old, None), at("c", &old, None)];
        assert_eq!(plan("x", &under_way).ordered, ["a"]);
        let one = [at("a", &new, Some(&ended)), at("b", &old, None), at("c", &new, None)];
        let further = plan("x", &one);
        assert_eq!((further.ordered, further.done), (vec!["a".to_owned(), "c".to_owned(), "b".to_owned()], 2));
    }

    #[test]
    fn it_waits_for_a_replica_that_is_not_ready_and_ends_with_one_that_failed() {
        let (new, old, failed) = (told(Some("x")), told(None), reload(true, Some("exit code 1")));
        let at = |name: &'static str, ready, told, reload| Replica {
            name,
            uid: name,
            ready,
            heard: true,
            told: Some(told),
            reload,
        };
        let waiting = plan("x", &[at("a", true, &old, None), at("b", false, &old, None)]);
        assert_eq!((waiting.ordered, waiting.waits_for.as_deref()), (Vec::<String>::new(), Some("b")));
        let ended = plan("x", &[at("a", true, &new, Some(&failed)), at("b", true, &old, None)]);
        assert_eq!(ended.ordered, ["a"]);
        assert_eq!(ended.failure, Some(("a".into(), "exit code 1".into())));
    }

    #[test]
    fn nobody_begins_and_nothing_is_done_before_all_have_been_heard() {
        let old = told(None);
        let unheard = Replica { name: "a", uid: "a", ready: true, heard: false, told: None, reload: None };
        let next = Replica { name: "b", uid: "b", heard: true, told: Some(&old), ..unheard };
        let begun = plan("x", &[unheard, next]);
        assert_eq!((begun.ordered, begun.done, begun.all), (Vec::<String>::new(), 0, 2));
    }

    #[test]
    fn who_takes_no_orders_is_not_waited_for() {
        let old = told(None);
        let deaf = Replica { name: "a", uid: "a", ready: true, heard: true, told: None, reload: None };
        let other = Replica { name: "b", uid: "b", told: Some(&old), ..deaf };
        assert_eq!((plan("x", &[deaf, other]).ordered, plan("x", &[deaf]).all), (vec!["b".to_owned()], 0));
    }
}
