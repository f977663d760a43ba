//! The annotations that keep the autoscalers of nodes from taking a pod away, as the pod has them: which are the operator's, and which its user's.

use crds::names;
use serde_json::{Value, json};

/// Each with the value that says no, to the cluster-autoscaler and to Karpenter.
const ANNOTATIONS: [(&str, &str); 2] =
    [("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"), ("karpenter.sh/do-not-disrupt", "true")];

/// What a pod says of itself. [`names::ANNOTATION_BUSY`] lists the annotations that the operator has put on it, so that whoever works after this one
/// takes off these and no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// The operator has said that the pod is busy.
    said: bool,
    /// In the order of [`ANNOTATIONS`].
    marks: [Mark; ANNOTATIONS.len()],
}

/// Whose an annotation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mark {
    /// There is none.
    #[default]
    Free,
    /// The operator's.
    Ours,
    /// The template's, or its user has changed it since.
    Theirs,
}

/// What the operator may do about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protected {
    /// It has said that the pod is busy, and may take that back.
    Ours,
    /// It has not, and may.
    Free,
    /// The pod's user has said all that there is to say.
    Theirs,
}

// === impl Protection ===

impl Protection {
    /// Reads the annotations of a pod.
    pub fn read<'a>(annotation: impl Fn(&str) -> Option<&'a String>) -> Self {
        let said = annotation(names::ANNOTATION_BUSY);
        let ours = |name: &str| said.is_some_and(|said| said.split(',').any(|own| own == name));
        let marks = ANNOTATIONS.map(|(name, value)| match annotation(name) {
            None => Mark::Free,
            Some(found) if found == value && ours(name) => Mark::Ours,
            Some(_) => Mark::Theirs,
        });
        Self { said: said.is_some(), marks }
    }

    pub fn state(self) -> Protected {
        if self.said {
            Protected::Ours
        } else if self.marks.contains(&Mark::Free) {
            Protected::Free
        } else {
            Protected::Theirs
        }
    }

    /// The annotations that say that the pod is busy, as they are merged into those that it has.
    pub fn say(self) -> Value {
        let mut merged = json!({});
        for (name, value) in self.those(Mark::Free) {
            merged[name] = json!(value);
        }
        let ours: Vec<&str> = self.those(Mark::Free).map(|(name, _)| name).collect();
        merged[names::ANNOTATION_BUSY] = json!(ours.join(","));
        merged
    }

    /// Takes off what the operator has put on, and nobody has changed.
    pub fn take_back(self) -> Value {
        let mut merged = json!({names::ANNOTATION_BUSY: null});
        for (name, _) in self.those(Mark::Ours) {
            merged[name] = Value::Null;
        }
        merged
    }

    fn those(self, mark: Mark) -> impl Iterator<Item = (&'static str, &'static str)> {
        ANNOTATIONS.into_iter().zip(self.marks).filter(move |(_, its)| *its == mark).map(|(annotation, _)| annotation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const EVICT: &str = ANNOTATIONS[0].0;
    const DISRUPT: &str = ANNOTATIONS[1].0;
    const BUSY: &str = names::ANNOTATION_BUSY;

    fn read(annotations: &[(&str, &str)]) -> Protection {
        let all: BTreeMap<String, String> =
            annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Protection::read(|name| all.get(name))
    }

    #[test]
    fn what_is_put_on_is_taken_off() {
        let bare = read(&[]);
        assert_eq!((bare, bare.state()), (Protection::default(), Protected::Free));
        let both = format!("{EVICT},{DISRUPT}");
        assert_eq!(bare.say(), json!({EVICT: "false", DISRUPT: "true", BUSY: both}));
        let said = read(&[(EVICT, "false"), (DISRUPT, "true"), (BUSY, &both)]);
        assert_eq!(said.state(), Protected::Ours);
        assert_eq!(said.take_back(), json!({EVICT: null, DISRUPT: null, BUSY: null}));
    }

    #[test]
    fn what_the_template_or_its_user_says_stays() {
        let template = read(&[(EVICT, "false")]);
        assert_eq!((template.state(), template.say()), (Protected::Free, json!({DISRUPT: "true", BUSY: DISRUPT})));
        let said = read(&[(EVICT, "false"), (DISRUPT, "true"), (BUSY, DISRUPT)]);
        assert_eq!(said.take_back(), json!({DISRUPT: null, BUSY: null}));
        assert_eq!(read(&[(EVICT, "true"), (DISRUPT, "true")]).state(), Protected::Theirs);
        let changed = read(&[(EVICT, "true"), (DISRUPT, "true"), (BUSY, &format!("{EVICT},{DISRUPT}"))]);
        assert_eq!((changed.state(), changed.take_back()), (Protected::Ours, json!({DISRUPT: null, BUSY: null})));
    }
}
