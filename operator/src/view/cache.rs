//! Objects as the watches show them and as our own writes left them, whichever is newer.
//!
//! A decision is therefore never made on a view older than this operator's own last write: what a create, delete or patch returned
//! goes in here before the next decision, and an older event that comes in later is not taken.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::{Key, PodView};

/// What is known, shared by the watches, the reconciler and the scraper.
#[derive(Debug, Default)]
pub struct Cache {
    pub pods: Table<PodView>,
    pub services: Table<ObjectView>,
    pub budgets: Table<ObjectView>,
    pub revisions: Table<ObjectView>,
    pub strays: Strays,
}

/// An object of ours as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectView {
    pub name: String,
    pub uid: String,
    pub version: u64,
    pub controller: Option<String>,
    pub object: Arc<Value>,
}

/// Pods that a WorkerCluster may still control and that do not carry its label any more: UIDs and names, by WorkerCluster.
#[derive(Debug, Default)]
pub struct Strays(Mutex<HashMap<Key, BTreeMap<String, String>>>);

/// What every stored object has.
pub trait Stored {
    fn name(&self) -> &str;
    fn uid(&self) -> &str;
    /// `metadata.resourceVersion`.
    fn version(&self) -> u64;
}

/// The objects of one kind, by WorkerCluster and name.
#[derive(Debug)]
pub struct Table<T>(Mutex<Rows<T>>);

#[derive(Debug)]
struct Rows<T> {
    objects: HashMap<Key, BTreeMap<String, Row<T>>>,
    /// Where each object stands, by UID: a changed label moves it.
    places: HashMap<String, (Key, String)>,
    /// What is gone, by UID, with its last version: a late event must not bring it back. Bounded; the order says which to forget first.
    gone: HashMap<String, Gone>,
    gone_order: VecDeque<String>,
    /// Counts our own writes.
    writes: u64,
    /// Counts lists.
    lists: u64,
    /// A list lacked what we wrote while it was under way: only another look tells whether that is too new for the list, or gone already.
    doubts: HashSet<Key>,
}

#[derive(Debug)]
struct Row<T> {
    /// Shared with who looks: a copy of thousands of pods for each look costs more than the look.
    object: Arc<T>,
    /// The number of our own write that brought it, if one did.
    written: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Gone {
    /// A version beyond this one is newer than the end: a label that came back.
    version: u64,
    /// Our own writes until then.
    writes: u64,
}

/// A moment in the order of our own writes and of the lists: what a list that begins now cannot show yet was written after it, and a write that
/// begins now may have been undone before a list that is taken in meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    writes: u64,
    lists: u64,
}

/// How many ended objects are remembered; more than the watch can lag behind in practice.
const GONE_LIMIT: usize = 10_000;
/// Pods of one WorkerCluster that wait to be released.
const STRAYS_LIMIT: usize = 1000;

// === impl Stored ===

impl Stored for PodView {
    fn name(&self) -> &str {
        &self.name
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> u64 {
        self.version
    }
}

impl Stored for ObjectView {
    fn name(&self) -> &str {
        &self.name
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> u64 {
        self.version
    }
}

// === impl Strays ===

impl Strays {
    /// Remembers one. Beyond the limit none is: such a pod is then only not released.
    pub fn put(&self, key: &Key, uid: &str, name: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let strays = all.entry(key.clone()).or_default();
        if strays.len() < STRAYS_LIMIT {
            strays.insert(uid.to_owned(), name.to_owned());
        }
    }

    /// Takes those of a WorkerCluster out: UIDs and names.
    pub fn take(&self, key: &Key) -> BTreeMap<String, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key).unwrap_or_default()
    }
}

// === impl Table ===

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Mutex::new(Rows {
            objects: HashMap::new(),
            places: HashMap::new(),
            gone: HashMap::new(),
            gone_order: VecDeque::new(),
            writes: 0,
            lists: 0,
            doubts: HashSet::new(),
        }))
    }
}

impl<T: Stored> Table<T> {
    fn rows(&self) -> MutexGuard<'_, Rows<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the watch shows, unless something newer is known. Returns the WorkerClusters concerned: two where a label moved it.
    pub fn put(&self, key: &Key, object: T) -> Vec<Key> {
        self.rows().put(key, object, None)
    }

    /// Takes in what the answer to a write of ours that began at `mark` shows, unless something newer is known.
    pub fn put_written(&self, key: &Key, object: T, mark: Mark) {
        let mut rows = self.rows();
        if rows.lists != mark.lists && !rows.places.contains_key(object.uid()) {
            // Written, and ended again before the list: the watch goes on after that, and will say nothing of it.
            rows.doubts.insert(key.clone());
        }
        rows.put_anew(key, object);
    }

    /// The watch says that an object is gone, or has lost its label; `version` is that of its end.
    pub fn remove(&self, uid: &str, version: u64) -> Option<Key> {
        let mut rows = self.rows();
        // A label that was lost and has come back since: this is not the end.
        if rows.version(uid).is_some_and(|known| known > version) { None } else { rows.remove(uid, version) }
    }

    /// The answer to a delete of ours says that there is no such object any more.
    pub fn remove_written(&self, uid: &str) {
        let mut rows = self.rows();
        rows.writes += 1;
        rows.remove(uid, u64::MAX);
    }

    /// For [`Self::relist`] and [`Self::put_written`]: taken before the call.
    pub fn mark(&self) -> Mark {
        let rows = self.rows();
        Mark { writes: rows.writes, lists: rows.lists }
    }

    /// A list that was asked for at `mark` showed `listed` and nothing else: what it lacks is gone, unless we wrote it since.
    /// Returns the WorkerClusters concerned.
    pub fn relist(&self, namespace: Option<&str>, mark: Mark, listed: Vec<(Key, T)>) -> Vec<Key> {
        let mut rows = self.rows();
        rows.lists += 1;
        let uids: HashSet<&str> = listed.iter().map(|(_, object)| object.uid()).collect();
        let in_scope = |key: &Key| namespace.is_none_or(|namespace| namespace == &*key.namespace);
        let (mut missing, mut crossed) = (Vec::new(), Vec::new());
        for (key, objects) in rows.objects.iter().filter(|(key, _)| in_scope(key)) {
            for row in objects.values().filter(|row| !uids.contains(row.object.uid())) {
                match row.written {
                    Some(write) if write > mark.writes => crossed.push(key.clone()),
                    _ => missing.push((row.object.uid().to_owned(), row.object.version())),
                }
            }
        }
        let mut touched: Vec<Key> = missing.iter().filter_map(|(uid, version)| rows.remove(uid, *version)).collect();
        touched.extend(crossed.iter().cloned());
        rows.doubts.extend(crossed);
        for (key, object) in listed {
            // The list knows better than an old end, but not better than one that we brought about since.
            if rows.gone.get(object.uid()).is_some_and(|gone| gone.writes <= mark.writes) {
                rows.gone.remove(object.uid());
            }
            touched.push(key.clone());
            touched.extend(rows.put(&key, object, None));
        }
        touched.sort();
        touched.dedup();
        touched
    }

    /// Whether another look is due; asked once.
    pub fn take_doubt(&self, key: &Key) -> bool {
        self.rows().doubts.remove(key)
    }

    /// A list of one WorkerCluster's objects at `version`, asked for while nothing of it was written: what it lacks and is not newer is gone.
    pub fn look(&self, key: &Key, version: u64, listed: Vec<T>) {
        let mut rows = self.rows();
        let there: HashSet<&str> = listed.iter().map(Stored::uid).collect();
        let objects = rows.objects.get(key).into_iter().flat_map(BTreeMap::values);
        let gone = objects.filter(|row| row.object.version() <= version && !there.contains(row.object.uid()));
        let gone: Vec<String> = gone.map(|row| row.object.uid().to_owned()).collect();
        // As what we brought about: neither a line that the watch still holds back, nor a list that began before, may bring it back.
        rows.writes += 1;
        for uid in gone {
            rows.remove(&uid, version);
        }
        for object in listed {
            rows.put_anew(key, object);
        }
    }

    /// Objects of this sort, by WorkerCluster.
    pub fn chosen(&self, wanted: impl Fn(&T) -> bool) -> Vec<(Key, Vec<Arc<T>>)> {
        let rows = self.rows();
        let of = |objects: &BTreeMap<String, Row<T>>| -> Vec<Arc<T>> {
            objects.values().filter(|row| wanted(&row.object)).map(|row| row.object.clone()).collect()
        };
        let all = rows.objects.iter().map(|(key, objects)| (key.clone(), of(objects)));
        all.filter(|(_, objects)| !objects.is_empty()).collect()
    }

    /// The objects that carry the WorkerCluster's label, in the order of their names.
    pub fn of(&self, key: &Key) -> Vec<Arc<T>> {
        let rows = self.rows();
        rows.objects
            .get(key)
            .map(|objects| objects.values().map(|row| row.object.clone()).collect())
            .unwrap_or_default()
    }
}

impl<T: Stored> Rows<T> {
    fn version(&self, uid: &str) -> Option<u64> {
        let (key, name) = self.places.get(uid)?;
        Some(self.objects.get(key)?.get(name)?.object.version())
    }

    /// As what a write of ours brought.
    fn put_anew(&mut self, key: &Key, object: T) -> Vec<Key> {
        self.writes += 1;
        self.put(key, object, Some(self.writes))
    }

    fn put(&mut self, key: &Key, object: T, written: Option<u64>) -> Vec<Key> {
        let (uid, name) = (object.uid().to_owned(), object.name().to_owned());
        if self.gone.get(&uid).is_some_and(|gone| object.version() <= gone.version) {
            return Vec::new();
        }
        let mut touched = vec![key.clone()];
        if let Some((place, old_name)) = self.places.get(&uid) {
            let known = self.objects.get(place).and_then(|objects| objects.get(old_name));
            if known.is_some_and(|known| known.object.version() >= object.version()) {
                return Vec::new();
            }
            // Another label, or, from a server that is not sound, another name: it stands in one place.
            if place != key || *old_name != name {
                let place = place.clone();
                self.take_out(&uid);
                if place != *key {
                    touched.push(place);
                }
            }
        }
        // An object of the same name that is not this one has ended without our seeing it.
        let before = self
            .objects
            .get(key)
            .and_then(|objects| objects.get(&name))
            .map(|row| (row.object.uid().to_owned(), row.object.version()));
        if let Some((other, version)) = before.filter(|(other, _)| *other != uid) {
            if version > object.version() {
                return Vec::new();
            }
            self.take_out(&other);
        }
        self.places.insert(uid, (key.clone(), name.clone()));
        self.objects.entry(key.clone()).or_default().insert(name, Row { object: Arc::new(object), written });
        touched
    }

    fn remove(&mut self, uid: &str, version: u64) -> Option<Key> {
        if self.gone_order.len() >= GONE_LIMIT
            && let Some(oldest) = self.gone_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
        let gone = Gone { version, writes: self.writes };
        if self.gone.insert(uid.to_owned(), gone).is_none() {
            self.gone_order.push_back(uid.to_owned());
        }
        self.take_out(uid)
    }

    fn take_out(&mut self, uid: &str) -> Option<Key> {
        let (key, name) = self.places.remove(uid)?;
        let objects = self.objects.get_mut(&key)?;
        objects.remove(&name);
        if objects.is_empty() {
            self.objects.remove(&key);
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::pod::tests::pod;

    fn key() -> Key {
        Key::new("default", "web")
    }

    fn names(cache: &Cache, key: &Key) -> Vec<String> {
        cache.pods.of(key).iter().map(|pod| pod.name.clone()).collect()
    }

    #[test]
    fn an_older_event_does_not_undo_what_a_write_showed() {
        let cache = Cache::default();
        cache.pods.put_written(&key(), pod("a").version(5).deleting(), cache.pods.mark());
        cache.pods.put(&key(), pod("a").version(4));
        assert!(cache.pods.of(&key())[0].deleting);
    }

    #[test]
    fn objects_of_one_sort_are_found_in_all_workerclusters_that_have_some() {
        let (cache, other) = (Cache::default(), Key::new("default", "other"));
        for name in ["a", "b"] {
            cache.pods.put(&key(), pod(name));
        }
        cache.pods.put(&other, pod("c"));
        let found = cache.pods.chosen(|pod| pod.name != "c" && pod.name != "a");
        let names: Vec<_> = found.iter().map(|(key, pods)| (key, pods.len(), &*pods[0].name)).collect();
        assert_eq!(names, [(&key(), 1, "b")]);
    }

    #[test]
    fn a_late_event_does_not_bring_back_what_is_gone() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5));
        cache.pods.remove("uid-a", 7);
        cache.pods.put(&key(), pod("a").version(6));
        assert_eq!(names(&cache, &key()), [""; 0]);
    }

    #[test]
    fn a_label_that_comes_back_brings_the_pod_back() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5));
        cache.pods.remove("uid-a", 7);
        cache.pods.put(&key(), pod("a").version(8));
        assert_eq!(names(&cache, &key()), ["a"]);
    }

    #[test]
    fn a_changed_label_moves_the_pod_and_concerns_both() {
        let (cache, other) = (Cache::default(), Key::new("default", "quarantine"));
        cache.pods.put(&key(), pod("a").version(5));
        let touched = cache.pods.put(&other, pod("a").version(6));
        assert_eq!((names(&cache, &key()), names(&cache, &other)), (vec![], vec!["a".to_owned()]));
        assert_eq!(touched, [other, key()]);
    }

    #[test]
    fn one_uid_stands_in_one_place_whatever_its_name() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5).uid("one"));
        assert_eq!(cache.pods.put(&key(), pod("b").version(6).uid("one")), [key()]);
        assert_eq!(names(&cache, &key()), ["b"]);
    }

    #[test]
    fn a_new_list_drops_what_it_lacks_whatever_its_version() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("kept").version(50));
        cache.pods.put(&key(), pod("ghost").version(100));
        let mark = cache.pods.mark();
        let touched = cache.pods.relist(None, mark, vec![(key(), pod("kept").version(50))]);
        assert_eq!((names(&cache, &key()), touched), (vec!["kept".to_owned()], vec![key()]));
    }

    #[test]
    fn a_new_list_does_not_drop_what_we_wrote_after_it_was_asked_for() {
        let cache = Cache::default();
        cache.pods.put_written(&key(), pod("before").version(5), cache.pods.mark());
        let mark = cache.pods.mark();
        cache.pods.put_written(&key(), pod("after").version(20), cache.pods.mark());
        cache.pods.relist(None, mark, Vec::new());
        assert_eq!(names(&cache, &key()), ["after"]);
    }

    #[test]
    fn what_was_written_while_a_list_was_under_way_is_looked_at_again_and_goes_if_it_is_gone() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5));
        let mark = cache.pods.mark();
        cache.pods.put_written(&key(), pod("a").version(6).deleting(), cache.pods.mark());
        cache.pods.put_written(&key(), pod("newer").version(9), cache.pods.mark());
        // It was gone when the list was made, and the watch goes on after that.
        assert_eq!(cache.pods.relist(None, mark, Vec::new()), [key()]);
        assert!(cache.pods.take_doubt(&key()) && !cache.pods.take_doubt(&key()));
        cache.pods.look(&key(), 8, vec![pod("b").version(7)]);
        assert_eq!(names(&cache, &key()), ["b", "newer"]);
    }

    #[test]
    fn what_a_look_found_gone_comes_back_by_no_older_line_and_by_no_list_that_began_before() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5));
        let mark = cache.pods.mark();
        cache.pods.look(&key(), 10, vec![pod("b").version(6)]);
        cache.pods.put(&key(), pod("a").version(7));
        assert_eq!(names(&cache, &key()), ["b"]);
        cache.pods.relist(None, mark, vec![(key(), pod("a").version(5)), (key(), pod("b").version(6))]);
        assert_eq!(names(&cache, &key()), ["b"]);
        cache.pods.put(&key(), pod("a").version(11));
        assert_eq!(names(&cache, &key()), ["a", "b"], "its label came back");
    }

    #[test]
    fn what_was_written_before_a_list_and_is_answered_after_it_is_looked_at() {
        let cache = Cache::default();
        let written = cache.pods.mark();
        cache.pods.relist(None, cache.pods.mark(), Vec::new());
        cache.pods.put_written(&key(), pod("a").version(6), written);
        assert!(cache.pods.take_doubt(&key()));
        cache.pods.look(&key(), 10, Vec::new());
        assert_eq!(names(&cache, &key()), [""; 0]);
        cache.pods.put_written(&key(), pod("b").version(12), cache.pods.mark());
        assert!(!cache.pods.take_doubt(&key()), "no list came between");
    }

    #[test]
    fn a_label_that_came_back_is_not_lost_again_by_a_late_line() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(8));
        assert_eq!(cache.pods.remove("uid-a", 7), None);
        assert_eq!(names(&cache, &key()), ["a"]);
        assert_eq!(cache.pods.remove("uid-a", 9), Some(key()));
    }

    #[test]
    fn a_list_does_not_bring_back_what_we_deleted_after_it_was_asked_for() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5));
        let mark = cache.pods.mark();
        cache.pods.remove_written("uid-a");
        cache.pods.relist(None, mark, vec![(key(), pod("a").version(5))]);
        assert_eq!(names(&cache, &key()), [""; 0]);
    }

    #[test]
    fn a_successor_of_the_same_name_is_not_taken_for_the_one_that_went() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(9).uid("second"));
        cache.pods.remove("first", 10);
        assert_eq!(names(&cache, &key()), ["a"]);
    }
}
