//! ControllerRevisions with anything in them: what can be read of them can be gone back to.

use crds::WorkerClusterSpec;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::{Value, json};

use super::{Kept, is_damaged, mending, read, without_doubles};
use crate::{
    build::{self, revision::Place},
    decide::revisions::{self, Stored},
    fuzzing::everything,
    view::watch::object_view,
};

const UID: &str = "uid";

/// One object a line.
pub fn objects(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').take(16);
    let objects = lines.filter_map(|line| serde_json::from_slice::<ControllerRevision>(line).ok());
    let kept: Vec<Kept> = objects.filter_map(|object| read(object_view(&object)?, UID)).collect();
    let all = kept.len();
    let (kept, doubles) = without_doubles(kept);
    assert_eq!(kept.len() + doubles.len(), all);
    for (at, one) in kept.iter().enumerate() {
        assert!(kept.iter().skip(at + 1).all(|other| other.stored.hash != one.stored.hash));
        look(one);
    }
    let stored: Vec<Stored> = kept.iter().map(|kept| kept.stored.clone()).collect();
    let hash = stored.first().map_or("none", |stored| &stored.hash).to_owned();
    let plan = revisions::decide(&revisions::Input {
        spec: &hash,
        usable: all.is_multiple_of(2),
        paused: doubles.is_empty(),
        image: "primary",
        stored: &stored,
        lived_in: std::iter::once((hash.as_str(), None)).collect(),
        limit: 1,
    });
    let target = plan.target.as_ref().map(|target| &target.hash);
    assert!(target.is_none_or(|target| !plan.forget.contains(target)), "the target is forgotten");
    assert!(plan.forget.iter().all(|forgotten| stored.iter().any(|stored| stored.hash == *forgotten)));
}

fn look(kept: &Kept) {
    let wishes = &kept.view.object["data"]["spec"];
    let place = Place { namespace: "ns", cluster: "web", cluster_uid: UID, change_cause: Some("why") };
    let built = build::revision::build(wishes, &place, kept.stored.number, "primary");
    // Written again it is the same revision.
    let text = built.to_string();
    let again: Value = serde_json::from_str(&text).unwrap_or_default();
    assert_eq!(build::revision::hash(&again["data"]["spec"]), kept.stored.hash);
    let _ = is_damaged(&kept.view, &mending(&built));
    let now = json!({"template": {"spec": {"containers": [{"name": "worker", "command": ["x"]}]}}});
    let Ok(now) = serde_json::from_value::<WorkerClusterSpec>(now) else { unreachable!("a spec") };
    if let Ok(spec) = build::revision::restored(&now, wishes) {
        everything(&spec);
    }
}
