//! Which plans are run: a crash at every call of a run without faults, and pairs of faults from seeds.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    call::{Call, Verb},
    chance::{Chance, place},
    fault::{Action, CRASHES, Fault, Plan},
    run::{Baseline, Baselines},
    workload::Scenario,
};

/// What an operator does when it begins anew, so that a second fault can meet it there.
const BEGINNING: [(Verb, &str); 9] = [
    (Verb::Get, "leases"),
    (Verb::Update, "leases"),
    (Verb::List, "workerclusters"),
    (Verb::List, "pods"),
    (Verb::List, "services"),
    (Verb::Watch, "pods"),
    (Verb::Watch, "workerclusters"),
    (Verb::DryRun, "pods"),
    (Verb::Apply, "workerclusters/status"),
];

/// A crash at every call, in each of the three places; and at every line of a watch, before it and after it.
#[must_use]
pub fn crashes(scenario: Scenario, baseline: &Baseline) -> Vec<Plan> {
    let one = |call: &Call, nth: u32, action: Action| Plan {
        scenario,
        faults: vec![Fault { call: call.clone(), nth, action }],
    };
    let mut plans = Vec::new();
    for (call, count) in &baseline.counts {
        for nth in 1..=*count {
            let places =
                CRASHES.into_iter().filter(|action| call.verb != Verb::Event || *action != Action::CrashUnanswered);
            plans.extend(places.map(|action| one(call, nth, action)));
        }
    }
    plans
}

/// The plan with a second crash while the operator begins anew, or soon after.
#[must_use]
pub fn crash_again(plan: &Plan, chance: &mut Chance) -> Plan {
    let mut plan = plan.clone();
    let (verb, class) = BEGINNING[chance.below(BEGINNING.len())];
    let action = CRASHES[chance.below(CRASHES.len())];
    let nth = if verb == Verb::Apply { 2 } else { 1 };
    plan.faults.push(Fault::new(verb, class, nth, action));
    plan
}

/// So many plans with two faults at random.
#[must_use]
pub fn pairs(baselines: &Baselines, seed: u64, number: usize) -> Vec<Plan> {
    let scenarios: Vec<Scenario> = baselines.keys().copied().collect();
    (0..number)
        .filter_map(|index| {
            let mut chance = Chance::new(seed.wrapping_add(index as u64));
            let scenario = *chance.choose(&scenarios)?;
            let counts = &baselines[&scenario].counts;
            let faults = vec![any_fault(counts, &mut chance)?, any_fault(counts, &mut chance)?];
            Some(Plan { scenario, faults })
        })
        .collect()
}

fn any_fault(counts: &BTreeMap<Call, u32>, chance: &mut Chance) -> Option<Fault> {
    // Most at what the workload does itself, some at a new beginning, which only happens after a crash or a lost watch.
    if chance.below(5) == 0 {
        let (verb, class) = BEGINNING[chance.below(BEGINNING.len())];
        return Some(Fault::new(verb, class, 1, any_action(verb, chance)));
    }
    // A run has a line of a watch more, or one fewer, than the run before: that changes no other choice.
    let seed = chance.next_number();
    let places = counts.iter().flat_map(|(call, count)| (1..=*count).map(move |nth| (call, nth)));
    let (call, nth) = places.min_by_key(|(call, nth)| place(seed, &format!("{call}#{nth}")))?;
    Some(Fault { call: call.clone(), nth, action: any_action(call.verb, chance) })
}

/// An action that means something for this verb.
pub fn any_action(verb: Verb, chance: &mut Chance) -> Action {
    let time = |chance: &mut Chance, most: usize| Duration::from_millis(100 * (1 + chance.below(most / 100)) as u64);
    if verb == Verb::Event {
        return match chance.below(8) {
            0 | 1 => Action::Freeze(time(chance, 8000)),
            2 => Action::Repeat,
            3 => Action::Cut,
            4 => Action::Tear,
            5 => Action::Expire,
            6 => Action::CrashBefore,
            _ => Action::CrashAfter,
        };
    }
    let codes = [409, 429, 500, 503, 504];
    match chance.below(16) {
        0 | 1 => Action::Drop,
        2 => Action::Hang,
        3 => Action::Delay(time(chance, 3000)),
        4 | 5 => Action::Reset,
        6 => Action::Swallow,
        7 => Action::Garble([500, 504][chance.below(2)]),
        8 => Action::Duplicate,
        9 => Action::Second,
        10..=12 => Action::Refuse(codes[chance.below(codes.len())]),
        13 => Action::CrashBefore,
        14 => Action::CrashUnanswered,
        _ => Action::CrashAfter,
    }
}

/// So many of `plans`, chosen so that one more or one fewer among them changes no other choice.
#[must_use]
pub fn some(mut plans: Vec<Plan>, seed: u64, number: usize) -> Vec<Plan> {
    plans.sort_by_cached_key(|plan| place(seed, &plan.to_string()));
    plans.truncate(number);
    plans
}

/// In another order, the same for the same seed, so that lanes do different things at a time.
pub fn shuffle<T>(items: &mut [T], chance: &mut Chance) {
    for index in (1..items.len()).rev() {
        items.swap(index, chance.below(index + 1));
    }
}
