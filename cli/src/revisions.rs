//! Revisions as the operator keeps them (docs/design/0005), and which of them to go back to.

use std::collections::BTreeMap;

use crds::names;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use serde_json::Value;

use crate::{cluster::Cluster, wishes};

/// One revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The highest is the current one.
    pub number: i64,
    /// As pods carry it in a label.
    pub hash: String,
    /// Why it came about, where somebody noted that.
    pub cause: Option<String>,
    /// Image of the primary that its pods have.
    pub primary_image: Option<String>,
    pub created: Option<Timestamp>,
    /// `template`, `workers`, `http` and `nodeLoss`.
    pub wishes: Value,
    /// Pods that have it and are not ending.
    pub pods: usize,
}

// === impl Revision ===

impl Revision {
    /// Images of its containers.
    pub fn images(&self) -> String {
        images(&self.wishes)
    }

    /// `revision 7 (46v4h8gfrj)`.
    pub fn title(&self) -> String {
        format!("revision {} ({})", self.number, self.hash)
    }
}

/// Images of the containers in a spec's template.
pub fn images(spec: &Value) -> String {
    let containers = spec.pointer("/template/spec/containers").and_then(Value::as_array);
    let images = containers.into_iter().flatten().filter_map(|container| container.get("image")?.as_str());
    images.collect::<Vec<_>>().join(", ")
}

/// The revisions of the WorkerCluster with this UID, oldest first. Those of others with its name, and what is no revision of ours, are left
/// out.
pub fn read(objects: &[ControllerRevision], uid: &str, pods: &BTreeMap<String, usize>) -> Vec<Revision> {
    let mut revisions: Vec<Revision> = objects.iter().filter_map(|object| one(object, uid, pods)).collect();
    revisions.sort_by(|a, b| (a.number, &a.hash).cmp(&(b.number, &b.hash)));
    revisions
}

fn one(object: &ControllerRevision, uid: &str, pods: &BTreeMap<String, usize>) -> Option<Revision> {
    object.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.uid == uid)?;
    let hash = object.labels().get(names::LABEL_REVISION)?.clone();
    let annotation = |key: &str| object.annotations().get(key).cloned();
    Some(Revision {
        number: object.revision,
        cause: annotation(names::ANNOTATION_CHANGE_CAUSE),
        primary_image: annotation(names::ANNOTATION_PRIMARY_IMAGE),
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        wishes: object.data.as_ref()?.0.get("spec").filter(|wishes| wishes.is_object())?.clone(),
        pods: pods.get(&hash).copied().unwrap_or(0),
        hash,
    })
}

/// The revision with this number.
///
/// # Errors
/// With the numbers that there are.
pub fn numbered(revisions: &[Revision], number: i64) -> Result<&Revision, String> {
    revisions.iter().find(|revision| revision.number == number).ok_or_else(|| {
        let there: Vec<String> = revisions.iter().map(|revision| revision.number.to_string()).collect();
        match there.as_slice() {
            [] => "no revision is kept yet: the operator keeps one with the first pod".into(),
            _ => format!("there is no revision {number}; kept are {}", there.join(", ")),
        }
    })
}

/// The revision that undo goes back to: `to`, or without it the one before. Where the spec is none of the kept ones (it was refused, or the
/// operator has not come to it yet), the newest is the one before.
///
/// # Errors
/// Where there is none, with the reason.
pub fn before<'a>(revisions: &'a [Revision], cluster: &Cluster, to: Option<i64>) -> Result<&'a Revision, String> {
    if let Some(number) = to {
        return numbered(revisions, number);
    }
    let older = revisions.iter().rev().find(|revision| !wishes::same(&revision.wishes, &cluster.spec));
    older.ok_or_else(|| match revisions.len() {
        0 => "no revision is kept yet: the operator keeps one with the first pod".into(),
        _ => {
            "there is no older revision: kept is only the present one (rollout.revisionHistoryLimit says how many are)"
                .into()
        }
    })
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::tests::cluster;

    pub fn revision(number: i64, wishes: Value) -> Revision {
        Revision {
            number,
            hash: format!("hash{number}"),
            cause: None,
            primary_image: None,
            created: None,
            wishes,
            pods: 0,
        }
    }

    fn of(number: i64, image: &str) -> Revision {
        revision(number, json!({"template": {"spec": {"containers": [{"name": "worker", "image": image}]}}}))
    }

    fn object(name: &str, number: i64, owner: &str) -> ControllerRevision {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "labels": {"workercluster.dev/revision": name},
                "annotations": {"kubernetes.io/change-cause": "because"},
                "ownerReferences": [{"apiVersion": "workercluster.dev/v1alpha1", "kind": "WorkerCluster", "name": "web", "uid": owner, "controller": true}]
            },
            "data": {"spec": {"template": {}}}, "revision": number
        }))
        .unwrap()
    }

    #[test]
    fn revisions_are_ordered_by_their_number_and_only_those_of_this_cluster() {
        let objects = [object("c", 10, "u"), object("a", 9, "u"), object("x", 3, "predecessor")];
        let found = read(&objects, "u", &BTreeMap::from([("c".to_owned(), 2)]));
        let brief: Vec<_> = found.iter().map(|one| (one.number, one.hash.as_str(), one.pods)).collect();
        assert_eq!(brief, [(9, "a", 0), (10, "c", 2)]);
        assert_eq!(found[0].cause.as_deref(), Some("because"));
    }

    #[test]
    fn undo_goes_to_the_one_before_or_to_the_newest_where_the_spec_was_not_taken() {
        let kept = [of(1, "one"), of(2, "two"), of(3, "node:22")];
        let present = cluster(json!({}));
        let refused =
            cluster(json!({"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "typo"}]}}}}));
        for (cluster, kept, to, wanted) in [
            (&present, &kept[..], None, Ok(2)),
            (&refused, &kept[..], None, Ok(3)),
            (&present, &kept[..], Some(1), Ok(1)),
            (&present, &kept[..], Some(9), Err("there is no revision 9; kept are 1, 2, 3")),
            (&present, &kept[2..], None, Err("there is no older revision")),
            (&present, &[], None, Err("no revision is kept yet")),
            (&present, &[], Some(1), Err("no revision is kept yet")),
        ] {
            match (before(kept, cluster, to), wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found.number, wanted),
                (Err(found), Err(wanted)) => assert!(found.starts_with(wanted), "{found}"),
                (found, wanted) => panic!("{found:?}, not {wanted:?}"),
            }
        }
    }

    #[test]
    fn images_of_all_containers_are_told() {
        let spec = json!({"template": {"spec": {"containers": [{"image": "a"}, {"name": "x"}, {"image": "b"}]}}});
        assert_eq!(images(&spec), "a, b");
    }
}
