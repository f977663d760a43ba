use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Makes records one after another, each a second and a version later.
#[derive(Default)]
struct Story {
    history: History,
    versions: u64,
}

impl Story {
    fn record(&mut self, plural: &str, gone: bool, object: Value) -> Record {
        self.versions += 1;
        let at = SECOND * u32::try_from(self.versions).unwrap();
        Record { version: self.versions, at, plural: plural.into(), gone, object: Arc::new(object) }
    }

    fn cluster(mut self, replicas: usize, change: impl FnOnce(&mut Value)) -> Self {
        let mut object = json!({
            "metadata": {"name": "web", "uid": "c", "generation": 1},
            "spec": {"replicas": replicas, "template": "a"}, "status": {"observedGeneration": 1}
        });
        change(&mut object);
        let record = self.record("workerclusters", false, object);
        self.history.records.push(record);
        self
    }

    fn pod(mut self, name: &str, slot: u32, ready: &str, change: impl FnOnce(&mut Value)) -> Self {
        let labels = json!({"workercluster.dev/name": "web", "workercluster.dev/revision": "r", "workercluster.dev/slot": slot.to_string()});
        let mut object = json!({
            "metadata": {"name": name, "uid": name, "labels": labels, "ownerReferences": [{"uid": "c", "controller": true}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
        });
        change(&mut object);
        let gone = object["gone"] == true;
        let record = self.record("pods", gone, object);
        self.history.records.push(record);
        self
    }

    /// What there was at first: all until now.
    fn at_first(mut self) -> Self {
        self.history.first = std::mem::take(&mut self.history.records);
        self
    }

    fn rules(&self) -> Vec<Rule> {
        violations(&self.history, Rules::default()).into_iter().map(|violation| violation.rule).collect()
    }
}

fn same(_: &mut Value) {}

fn gone(object: &mut Value) {
    object["gone"] = json!(true);
}

fn ending(object: &mut Value) {
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
}

fn two() -> Story {
    Story::default().cluster(2, same).pod("a", 0, "True", same).pod("b", 1, "True", same).at_first()
}

#[test]
fn nothing_is_said_where_all_is_well() {
    let story = two().cluster(3, same).pod("d", 2, "False", same).pod("d", 2, "True", same).cluster(2, same);
    assert_eq!(story.pod("d", 2, "True", ending).pod("d", 2, "True", gone).rules(), []);
}

#[test]
fn a_pod_more_than_wanted_is_seen() {
    assert_eq!(two().pod("d", 2, "True", same).rules(), [Rule::TooMany]);
}

#[test]
fn an_orphan_counts_so_that_making_another_in_its_place_is_seen() {
    let orphan = |pod: &mut Value| pod["metadata"]["ownerReferences"] = json!([]);
    let story = Story::default().pod("a", 0, "True", orphan).at_first().cluster(1, same);
    assert_eq!(story.pod("b", 1, "True", same).rules(), [Rule::TooMany]);
}

#[test]
fn the_surge_is_allowed_only_while_revisions_change() {
    let changed = |cluster: &mut Value| cluster["spec"]["template"] = json!("b");
    assert_eq!(two().cluster(2, changed).pod("d", 2, "False", same).rules(), []);
    let story = two().cluster(2, changed).pod("d", 2, "False", same).pod("e", 3, "False", same);
    assert_eq!(story.rules(), [Rule::TooMany]);
}

#[test]
fn a_slot_is_had_once() {
    assert_eq!(two().cluster(3, same).pod("d", 1, "True", same).rules(), [Rule::SlotTwice]);
}

#[test]
fn a_pod_of_another_that_is_deleted_is_seen() {
    let foreign = |pod: &mut Value| {
        pod["metadata"]["ownerReferences"] = json!([{"uid": "x", "controller": true}]);
        pod["metadata"]["labels"] = json!({"workercluster.dev/name": "web"});
    };
    let story = two().pod("x", 0, "True", foreign).at_first();
    let story = story.pod("x", 0, "True", |pod| {
        foreign(pod);
        ending(pod);
    });
    assert_eq!(story.rules(), [Rule::ForeignDeleted]);
}

#[test]
fn a_ready_pod_that_is_needed_is_not_deleted() {
    assert_eq!(two().pod("a", 0, "True", ending).rules(), [Rule::TooFew]);
    assert_eq!(two().cluster(1, same).pod("a", 0, "True", ending).rules(), []);
}

#[test]
fn what_is_not_ready_goes_first() {
    let story = || Story::default().cluster(2, same).pod("a", 0, "True", same).pod("b", 1, "False", same).at_first();
    let story = || story().cluster(0, same).cluster(0, same).cluster(0, same);
    assert_eq!(story().pod("a", 0, "True", ending).rules(), [Rule::Ranking]);
    assert_eq!(story().pod("a", 0, "True", ending).pod("b", 1, "False", ending).rules(), []);
}

#[test]
fn ready_without_enough_ready_pods_is_a_lie() {
    let claims = |cluster: &mut Value| cluster["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    let story = Story::default().cluster(1, same).pod("a", 0, "False", same).at_first();
    assert_eq!(story.cluster(1, claims).rules(), [Rule::Ready]);
    assert_eq!(two().cluster(2, claims).rules(), []);
}

#[test]
fn an_observed_generation_that_goes_back_or_ahead_is_seen() {
    let observed =
        |generation: i64| move |cluster: &mut Value| cluster["status"]["observedGeneration"] = json!(generation);
    assert_eq!(two().cluster(2, observed(0)).rules(), [Rule::Generation]);
    assert_eq!(two().cluster(2, observed(2)).rules(), [Rule::Generation]);
}

#[test]
fn what_the_garbage_collector_takes_after_its_owner_is_no_violation() {
    let mut story = two();
    let record = story.record("workerclusters", true, json!({"metadata": {"name": "web", "uid": "c"}}));
    story.history.records.push(record);
    assert_eq!(story.pod("a", 0, "True", ending).rules(), []);
}

#[test]
fn what_was_wanted_before_counts_until_the_present_is_reached() {
    let done =
        |cluster: &mut Value| cluster["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1});
    let down = || two().cluster(1, same).pod("b", 1, "True", ending).pod("b", 1, "True", gone);
    assert_eq!(down().pod("d", 1, "False", same).rules(), []);
    assert_eq!(down().cluster(1, done).pod("d", 1, "False", same).rules(), [Rule::TooMany]);
}
