//! Objects as the watches show them and as our own writes left them, whichever is newer.
//!
//! A decision is therefore never made on a view older than this operator's own last write: what a create, delete or patch returned
//! goes in here before the next decision, and an older event that comes in later is not taken.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::{Key, PodView};

/// What is known, shared by the watches, the reconciler and the scraper.
#[derive(Debug, Default)]
pub struct Cache {
    pub pods: Table<PodView>,
    pub services: Table<ServiceView>,
}

/// A Service of ours as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    pub name: String,
    pub uid: String,
    pub version: u64,
    pub controller: Option<String>,
    pub object: Value,
}

/// What every stored object has.
pub trait Stored: Clone {
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
    objects: HashMap<Key, BTreeMap<String, T>>,
    /// UIDs that are gone: a late event must not bring one back. Bounded; the order says which to forget first.
    gone: HashSet<String>,
    gone_order: VecDeque<String>,
}

/// How many ended objects are remembered; more than the watch can lag behind in practice.
const GONE_LIMIT: usize = 10_000;

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

impl Stored for ServiceView {
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

// === impl Table ===

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Mutex::new(Rows { objects: HashMap::new(), gone: HashSet::new(), gone_order: VecDeque::new() }))
    }
}

impl<T: Stored> Table<T> {
    fn rows(&self) -> MutexGuard<'_, Rows<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an object in, from the watch or from the answer to a write, unless something newer is known.
    pub fn put(&self, key: &Key, object: T) {
        let mut rows = self.rows();
        if rows.gone.contains(object.uid()) {
            return;
        }
        let objects = rows.objects.entry(key.clone()).or_default();
        match objects.get(object.name()) {
            Some(old) if old.version() >= object.version() => {}
            _ => {
                objects.insert(object.name().to_owned(), object);
            }
        }
    }

    /// An object is gone.
    pub fn remove(&self, key: &Key, name: &str, uid: &str) {
        let mut rows = self.rows();
        rows.forget(uid);
        if let Some(objects) = rows.objects.get_mut(key) {
            if objects.get(name).is_some_and(|object| object.uid() == uid) {
                objects.remove(name);
            }
            if objects.is_empty() {
                rows.objects.remove(key);
            }
        }
    }

    /// The watch began again with `listed` as all there was: what is older and not listed is gone. Returns the WorkerClusters concerned.
    pub fn relist(&self, namespace: Option<&str>, listed: Vec<(Key, T)>) -> Vec<Key> {
        let newest = listed.iter().map(|(_, object)| object.version()).max().unwrap_or(0);
        let mut touched: Vec<Key> = listed.iter().map(|(key, _)| key.clone()).collect();
        {
            let uids: HashSet<&str> = listed.iter().map(|(_, object)| object.uid()).collect();
            let mut rows = self.rows();
            for (key, objects) in rows
                .objects
                .iter_mut()
                .filter(|(key, _)| namespace.is_none_or(|namespace| namespace == &*key.namespace))
            {
                let before = objects.len();
                // What we created after the list was made is newer than all that was listed. With an empty list nothing says so;
                // then a fresh object may be missed until its event comes, and its name keeps it from being made twice.
                objects.retain(|_, object| uids.contains(object.uid()) || (newest > 0 && object.version() > newest));
                if objects.len() != before {
                    touched.push(key.clone());
                }
            }
            rows.objects.retain(|_, objects| !objects.is_empty());
        }
        for (key, object) in listed {
            self.put(&key, object);
        }
        touched.sort();
        touched.dedup();
        touched
    }

    /// The objects that carry the WorkerCluster's label, in the order of their names.
    pub fn of(&self, key: &Key) -> Vec<T> {
        self.rows().objects.get(key).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }
}

impl<T> Rows<T> {
    fn forget(&mut self, uid: &str) {
        if self.gone_order.len() >= GONE_LIMIT
            && let Some(oldest) = self.gone_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
        if self.gone.insert(uid.to_owned()) {
            self.gone_order.push_back(uid.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::pod::tests::pod;

    fn key() -> Key {
        Key::new("default", "web")
    }

    #[test]
    fn an_older_event_does_not_undo_what_a_write_showed() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5).deleting());
        cache.pods.put(&key(), pod("a").version(4));
        assert!(cache.pods.of(&key())[0].deleting);
    }

    #[test]
    fn a_late_event_does_not_bring_back_what_is_gone() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(5));
        cache.pods.remove(&key(), "a", &pod("a").uid);
        cache.pods.put(&key(), pod("a").version(6));
        assert_eq!(cache.pods.of(&key()), []);
    }

    #[test]
    fn a_new_list_drops_what_it_lacks_but_not_what_we_created_since() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("old").version(5));
        cache.pods.put(&key(), pod("ours").version(20));
        let touched = cache.pods.relist(None, vec![(key(), pod("listed").version(10))]);
        let names: Vec<_> = cache.pods.of(&key()).into_iter().map(|pod| pod.name).collect();
        assert_eq!((names, touched), (vec!["listed".to_owned(), "ours".to_owned()], vec![key()]));
    }

    #[test]
    fn a_successor_of_the_same_name_is_not_taken_for_the_one_that_went() {
        let cache = Cache::default();
        cache.pods.put(&key(), pod("a").version(9).uid("second"));
        cache.pods.remove(&key(), "a", "first");
        assert_eq!(cache.pods.of(&key()).len(), 1);
    }
}
