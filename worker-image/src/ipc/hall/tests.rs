use proptest::prelude::*;

use super::*;

const DOOR: Door = 7;

fn hall(workers: &[WorkerId]) -> Hall<u32> {
    let mut hall = Hall::default();
    hall.open(DOOR);
    for worker in workers {
        hall.admit(*worker, DOOR, format!("key-{worker}"));
    }
    hall.choose(workers.iter().copied().collect());
    hall
}

fn taken_by(hall: &mut Hall<u32>, connections: std::ops::Range<u32>) -> Vec<Option<WorkerId>> {
    connections.map(|connection| hall.take(DOOR, connection).map(|handed| handed.worker)).collect()
}

/// Who came back: worker and connection of those that are handed over, and the connections that nobody wants.
fn settled(hall: &mut Hall<u32>) -> (Vec<(WorkerId, u32)>, Vec<u32>) {
    let Settled { handed, dropped } = hall.settle(DOOR);
    (handed.iter().map(|handed| (handed.worker, handed.connection)).collect(), dropped)
}

const NOTHING: (Vec<(WorkerId, u32)>, Vec<u32>) = (Vec::new(), Vec::new());

#[test]
fn they_go_round_and_no_worker_has_more_than_the_window() {
    let mut hall = hall(&[1, 2]);
    assert_eq!(taken_by(&mut hall, 0..4), [Some(1), Some(2), Some(1), Some(2)]);
    assert!(!hall.has_room(DOOR));
    assert_eq!(hall.answered(2, 2, true), Freed { doors: BTreeSet::from([DOOR]), dropped: vec![] });
    assert_eq!(hall.take(DOOR, 9), Some(Handed { worker: 2, key: "key-2".into(), seq: 5, connection: 9 }));
}

#[test]
fn what_a_dead_worker_did_not_answer_for_goes_to_others_in_its_order() {
    let mut hall = hall(&[1, 2]);
    taken_by(&mut hall, 0..4);
    hall.answered(2, 2, true);
    hall.answered(2, 4, true);
    hall.mute(1);
    assert_eq!(settled(&mut hall), NOTHING, "it may have said something that was not heard yet");
    hall.answered(1, 1, true);
    assert_eq!(hall.forget(1).doors, BTreeSet::from([DOOR]));
    assert_eq!(settled(&mut hall), (vec![(2, 2)], vec![]), "the first it had taken");
}

#[test]
fn one_that_was_refused_goes_to_another_and_one_that_nobody_wants_is_dropped() {
    let mut hall = hall(&[1, 2]);
    assert_eq!(hall.take(DOOR, 5).unwrap().worker, 1);
    hall.answered(1, 1, false);
    assert_eq!(settled(&mut hall), (vec![(2, 5)], vec![]));
    hall.answered(2, 2, false);
    assert_eq!(settled(&mut hall), (vec![], vec![5]));
    assert!(!hall.is_busy());
}

#[test]
fn one_that_waits_for_a_worker_which_goes_is_dropped_where_the_rest_refused_it() {
    let mut hall = hall(&[1, 2]);
    taken_by(&mut hall, 0..4);
    hall.answered(1, 1, false);
    assert_eq!(settled(&mut hall), NOTHING, "the other has no room now");
    hall.choose(BTreeSet::new());
    assert_eq!(settled(&mut hall), NOTHING, "nobody is there, and somebody may come");
    hall.choose(BTreeSet::from([1]));
    assert_eq!(settled(&mut hall), (vec![], vec![0]));
}

#[test]
fn who_is_not_chosen_has_closed_or_does_not_listen_gets_none() {
    let mut hall = hall(&[1, 2, 3]);
    assert!(hall.choose(BTreeSet::from([1, 2, 9])));
    hall.dismiss(1, "key-1");
    assert_eq!(taken_by(&mut hall, 0..3), [Some(2), Some(2), None]);
    assert!(hall.is_busy(), "the third waits");
    hall.admit(1, DOOR, "again".into());
    assert_eq!(hall.settle(DOOR).handed.first().map(|handed| handed.key.as_str()), Some("again"));
    assert!(hall.owes(1) && !hall.owes(3));
}

#[test]
fn a_descriptor_that_did_not_arrive_is_for_another_worker() {
    let mut hall = hall(&[1, 2]);
    hall.sent(1);
    taken_by(&mut hall, 0..2);
    hall.arrived(1, false); // of what is no connection
    hall.arrived(1, false);
    assert_eq!(settled(&mut hall), (vec![(2, 0)], vec![]));
    for _ in 0..2 {
        hall.arrived(2, true);
    }
    hall.arrived(2, false); // of nothing that it was sent
    assert_eq!(settled(&mut hall), NOTHING);
    assert!(hall.owes(2) && !hall.owes(1));
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut hall = hall(&[1, 2]);
    taken_by(&mut hall, 0..2);
    for (worker, seq) in [(1, 2), (1, 99), (77, 1)] {
        assert_eq!(hall.answered(worker, seq, false), Freed { doors: BTreeSet::new(), dropped: vec![] });
    }
    assert_eq!(hall.answered(1, 1, true).doors.len(), 1);
}

#[test]
fn with_its_door_closed_a_connection_is_as_well() {
    let mut hall = hall(&[1]);
    hall.take(DOOR, 5);
    hall.close(DOOR);
    assert_eq!(hall.take(DOOR, 6), None);
    assert_eq!(hall.answered(1, 1, false).dropped, [5]);
    assert!(!hall.is_busy() && !hall.is_open(DOOR));
}

#[derive(Clone, Debug)]
enum Step {
    Come,
    Settle,
    Answer(usize, bool),
    Lose(WorkerId),
    Die(WorkerId),
    Begin(WorkerId),
    Choose(BTreeSet<WorkerId>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Come),
        2 => Just(Step::Settle),
        3 => (0_usize..8, any::<bool>()).prop_map(|(at, accepted)| Step::Answer(at, accepted)),
        1 => (1_u64..4).prop_map(Step::Lose),
        1 => (1_u64..4).prop_map(Step::Die),
        1 => (1_u64..4).prop_map(Step::Begin),
        1 => prop::collection::btree_set(1_u64..4, 0..4).prop_map(Step::Choose),
    ]
}

proptest! {
    /// Each connection is accepted by one worker, dropped because all refused it, on its way to one, or waits.
    #[test]
    fn none_is_lost_and_none_is_handed_twice_at_a_time(steps in prop::collection::vec(any_step(), 0..80)) {
        let mut hall = hall(&[1, 2, 3]);
        let mut under_way: Vec<Handed<u32>> = Vec::new();
        let (mut come, mut done) = (0_u32, 0_usize);
        for step in steps {
            match step {
                Step::Come => {
                    // As the task at the door does: only where somebody has room.
                    if hall.has_room(DOOR) {
                        under_way.extend(hall.take(DOOR, come));
                        come += 1;
                    }
                }
                Step::Settle => {
                    let Settled { handed, dropped } = hall.settle(DOOR);
                    under_way.extend(handed);
                    done += dropped.len();
                }
                Step::Answer(at, accepted) if at < under_way.len() => {
                    let handed = under_way.remove(at);
                    hall.answered(handed.worker, handed.seq, accepted);
                    done += usize::from(accepted);
                }
                Step::Answer(..) => {}
                Step::Lose(worker) => {
                    let before = hall.owes(worker);
                    hall.arrived(worker, false);
                    let seqs = |worker: WorkerId, hall: &Hall<u32>| -> Vec<u64> {
                        hall.workers.get(&worker).map(|worker| worker.handed.keys().copied().collect()).unwrap_or_default()
                    };
                    let left = seqs(worker, &hall);
                    under_way.retain(|handed| handed.worker != worker || left.contains(&handed.seq));
                    prop_assert!(before || left.is_empty());
                }
                Step::Die(worker) => {
                    done += hall.forget(worker).dropped.len();
                    under_way.retain(|handed| handed.worker != worker);
                }
                Step::Begin(worker) => hall.admit(worker, DOOR, format!("key-{worker}")),
                Step::Choose(chosen) => drop(hall.choose(chosen)),
            }
            let waiting = hall.doors[&DOOR].len();
            prop_assert_eq!(under_way.len() + waiting + done, come as usize);
            let connections: BTreeSet<u32> = under_way.iter().map(|handed| handed.connection).collect();
            prop_assert_eq!(connections.len(), under_way.len());
            for worker in 1..4 {
                prop_assert!(under_way.iter().filter(|handed| handed.worker == worker).count() <= WINDOW);
            }
        }
    }
}
