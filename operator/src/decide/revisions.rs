//! Which revision pods are built from, and what becomes of those that are kept: docs/design/0005.

use std::collections::BTreeMap;

/// A stored revision, as far as the decision goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The hash of what it holds.
    pub hash: String,
    /// The highest is the current one.
    pub number: i64,
    /// The primary's image that its pods have.
    pub image: Option<String>,
}

/// What there is and what is asked for.
pub struct Input<'a> {
    /// The hash of the spec's revision.
    pub spec: &'a str,
    /// Whether pods can be built from the spec.
    pub usable: bool,
    /// `rollout.paused`.
    pub paused: bool,
    /// The image of the primary that new revisions get.
    pub image: &'a str,
    pub stored: &'a [Stored],
    /// Hashes of revisions that pods still have, with the image of the primary in one of them.
    pub lived_in: BTreeMap<&'a str, Option<&'a str>>,
    /// Old revisions that are kept.
    pub limit: usize,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The revision that pods are built from; none where the first spec cannot be used.
    pub target: Option<Target>,
    /// Hashes of revisions that are deleted, oldest first.
    pub forget: Vec<String>,
}

/// The revision that pods are built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub hash: String,
    pub number: i64,
    pub image: String,
    pub write: Write,
}

/// What has to be written before the first pod of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing.
    Nothing,
    /// The revision is new.
    Create,
    /// It has been there before: it gets the target's number and image.
    Raise,
}

/// Decides.
pub fn decide(input: &Input<'_>) -> Plan {
    let newest = input.stored.iter().max_by(|a, b| (a.number, &a.hash).cmp(&(b.number, &b.hash)));
    let next = newest.map_or(1, |newest| newest.number.saturating_add(1));
    let target = if input.usable && !input.paused {
        Some(match input.stored.iter().find(|stored| stored.hash == input.spec) {
            None => {
                let image = input.lived_in.get(input.spec).copied().flatten().unwrap_or(input.image);
                Target { hash: input.spec.into(), number: next, image: image.into(), write: Write::Create }
            }
            Some(known) => known_target(input, known, newest, next),
        })
    } else {
        newest.map(|newest| known_target(input, newest, Some(newest), next))
    };
    let current = target.as_ref().map(|target| target.hash.as_str());
    let kept =
        |stored: &&Stored| Some(stored.hash.as_str()) == current || input.lived_in.contains_key(stored.hash.as_str());
    let mut old: Vec<&Stored> = input.stored.iter().filter(|stored| !kept(stored)).collect();
    old.sort_by(|a, b| (a.number, &a.hash).cmp(&(b.number, &b.hash)));
    let surplus = old.len().saturating_sub(input.limit);
    let forget = old.into_iter().take(surplus).map(|stored| stored.hash.clone()).collect();
    Plan { target, forget }
}

fn known_target(input: &Input<'_>, known: &Stored, newest: Option<&Stored>, next: i64) -> Target {
    let is_newest = newest.is_some_and(|newest| newest.hash == known.hash);
    let lived_in = input.lived_in.get(known.hash.as_str());
    // All pods of a revision have the same primary: its image changes only while it has none, and only when a rollout begins.
    let image = match &known.image {
        Some(image) if is_newest || lived_in.is_some() => image.clone(),
        _ => lived_in.copied().flatten().unwrap_or(input.image).to_owned(),
    };
    let write = if is_newest && known.image.is_some() { Write::Nothing } else { Write::Raise };
    Target { hash: known.hash.clone(), number: if is_newest { known.number } else { next }, image, write }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(hash: &str, number: i64) -> Stored {
        Stored { hash: hash.into(), number, image: Some(format!("primary:{number}")) }
    }

    fn plan(spec: &str, stored: &[Stored], change: impl FnOnce(&mut Input<'_>)) -> Plan {
        let none = BTreeMap::new();
        let mut input =
            Input { spec, usable: true, paused: false, image: "primary:new", stored, lived_in: none, limit: 10 };
        change(&mut input);
        decide(&input)
    }

    fn target(plan: &Plan) -> (&str, i64, &str, Write) {
        let target = plan.target.as_ref().unwrap();
        (&target.hash, target.number, &target.image, target.write)
    }

    #[test]
    fn the_first_revision_is_number_one() {
        assert_eq!(target(&plan("a", &[], |_| {})), ("a", 1, "primary:new", Write::Create));
    }

    #[test]
    fn a_changed_spec_is_the_next_revision() {
        assert_eq!(target(&plan("b", &[stored("a", 1)], |_| {})), ("b", 2, "primary:new", Write::Create));
    }

    #[test]
    fn an_upgrade_of_the_operator_changes_nothing_for_the_current_revision() {
        assert_eq!(target(&plan("a", &[stored("a", 1)], |_| {})), ("a", 1, "primary:1", Write::Nothing));
    }

    #[test]
    fn a_way_back_raises_the_old_revision_and_gives_it_the_new_image() {
        let both = [stored("a", 1), stored("b", 2)];
        assert_eq!(target(&plan("a", &both, |_| {})), ("a", 3, "primary:new", Write::Raise));
    }

    #[test]
    fn a_revision_that_still_has_pods_keeps_its_image_on_the_way_back() {
        let both = [stored("a", 1), stored("b", 2)];
        let plan = plan("a", &both, |input| input.lived_in = BTreeMap::from([("a", None)]));
        assert_eq!(target(&plan), ("a", 3, "primary:1", Write::Raise));
    }

    #[test]
    fn a_revision_that_is_new_only_to_the_store_has_the_image_of_its_pods() {
        let plan = plan("a", &[], |input| input.lived_in = BTreeMap::from([("a", Some("primary:old"))]));
        assert_eq!(target(&plan), ("a", 1, "primary:old", Write::Create));
    }

    #[test]
    fn while_the_spec_cannot_be_used_or_is_paused_the_last_revision_is_built() {
        let both = [stored("a", 1), stored("b", 2)];
        for change in [|input: &mut Input<'_>| input.usable = false, |input: &mut Input<'_>| input.paused = true] {
            assert_eq!(target(&plan("c", &both, change)), ("b", 2, "primary:2", Write::Nothing));
        }
        assert_eq!(plan("c", &[], |input| input.usable = false).target, None);
    }

    #[test]
    fn only_as_many_old_revisions_are_kept_as_asked_for_and_all_that_pods_have() {
        let all: Vec<Stored> = (1..=5).map(|number| stored(&format!("r{number}"), number)).collect();
        let plan = plan("r5", &all, |input| (input.limit, input.lived_in) = (1, BTreeMap::from([("r1", None)])));
        assert_eq!(plan.forget, ["r2", "r3"]);
    }
}
