//! One term of leadership: fresh watches, a fresh cache, the reconciler and the readers, all ended together when the Lease is lost.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use kube::{
    ResourceExt,
    runtime::{
        applier,
        controller::{Config as ApplierConfig, ReconcileReason, ReconcileRequest},
        events::{Recorder, Reporter},
        reflector::{ObjectRef, store},
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    api::{ApiServer, Limits, Upstream},
    controller::{self, Context, Settings, events, protect},
    leader::{Fence, Pass},
    metrics::Metrics,
    queue::Waiting,
    remote::{self, SEED, Signer},
    signal::{self, Voice},
    view::{
        Cache, Key, nodes,
        watch::{OWNED_KINDS, Object, Watches},
    },
};

/// What a term needs.
#[derive(Clone)]
pub struct Term {
    pub upstream: Upstream,
    pub fence: Fence,
    pub limits: Limits,
    pub metrics: Metrics,
    pub counters: signal::Counters,
    pub settings: Settings,
    /// Namespace and name of the Secret with the key that orders are signed with.
    pub control_key: (String, String),
    pub identity: String,
    pub namespaces: Vec<Option<String>>,
    /// Whether the caches are filled.
    pub synced: watch::Sender<bool>,
}

/// WorkerClusters that are reconciled at the same time.
const CONCURRENCY: u16 = 16;
/// News that wait for the reconciler; a watch that finds it full waits.
const NEWS: usize = 1024;
/// Reconciles under way may finish for so long when the term ends.
const LAST_RECONCILES: Duration = Duration::from_secs(12);
/// And so long what they had to tell, so that both are less than the end of the program may take.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// A term begins without the key after this time: pods that are made until it is had can never be told anything.
const KEY_WAIT: Duration = Duration::from_secs(4);
/// It is looked for again after this time while the term begins, and later.
const KEY_PAUSE: Duration = Duration::from_millis(500);
const KEY_AGAIN: Duration = Duration::from_secs(10);

/// Reads the key, or makes it. Who is overtaken by another operator reads what that one has made.
async fn key(api: &ApiServer, namespace: &str, name: &str) -> Result<Option<Signer>, String> {
    let Some(secret) = api.secret(namespace, name).await.map_err(|error| error.to_string())? else { return Ok(None) };
    let seed = secret.data.as_ref().and_then(|data| data.get(SEED));
    if let Some(seed) = seed {
        let seed = String::from_utf8_lossy(&seed.0);
        return Signer::from_seed(&seed).map(Some).map_err(|error| error.to_string());
    }
    let seed = remote::new_seed().map_err(|_| "the system gives no random bytes".to_owned())?;
    api.keep_secret(namespace, &secret, SEED, &seed).await.map_err(|error| error.to_string())?;
    Signer::from_seed(&seed).map(Some).map_err(|error| error.to_string())
}

// === impl Term ===

impl Term {
    /// The key that orders to primaries are signed with, as the Secret has it now. Made by the first operator that finds the Secret empty; without
    /// a Secret, or while it cannot be read, replicas are looked after all the same, and told nothing.
    async fn voice(&self, api: &ApiServer, pass: &Pass) -> Result<Option<Voice>, String> {
        let (namespace, name) = &self.control_key;
        let signer = key(api, namespace, name).await.map_err(|error| format!("Secret {namespace}/{name}: {error}"))?;
        Ok(signer.map(|signer| Voice { signer, pass: pass.clone() }))
    }

    /// Looks for the key as the term begins; not for long, and not at all where there is no Secret for it.
    async fn first_voice(&self, api: &ApiServer, pass: &Pass) -> Option<Voice> {
        loop {
            match self.voice(api, pass).await {
                Ok(voice) => return voice,
                Err(error) => tracing::warn!(error, "the key for orders to primaries cannot be read yet"),
            }
            tokio::time::sleep(KEY_PAUSE).await;
        }
    }

    /// Goes on looking for it until it is had.
    async fn later_voice(&self, api: &ApiServer, pass: &Pass, found: &watch::Sender<Option<Voice>>) {
        let mut last = String::new();
        while found.borrow().is_none() {
            tokio::time::sleep(KEY_AGAIN).await;
            match self.voice(api, pass).await {
                Ok(voice) => drop(found.send_replace(voice)),
                Err(error) if error == last => {}
                Err(error) => {
                    tracing::warn!(error, "no orders are given to primaries");
                    last = error;
                }
            }
        }
        std::future::pending::<()>().await;
    }

    /// Works in the term of this number until `over` is true.
    ///
    /// # Errors
    /// Where the API server cannot be used, or a task that should run for the whole term ended by itself.
    pub async fn run(&self, number: u64, mut over: watch::Receiver<bool>) -> anyhow::Result<()> {
        self.synced.send_replace(false);
        let pass = self.fence.pass(number);
        let api = ApiServer::new(&self.upstream, pass.clone(), self.limits.clone(), self.metrics.clone())?;
        let first = tokio::select! {
            first = timeout(KEY_WAIT, self.first_voice(&api, &pass)) => first.ok().flatten(),
            _ = over.wait_for(|over| *over) => None,
        };
        let (found, voice) = watch::channel(first);
        let (signals, readers) = signal::new(signal::Config::default(), self.counters.clone(), voice);
        let reporter = Reporter { controller: crds::names::MANAGED_BY.into(), instance: Some(self.identity.clone()) };
        let (events, teller) = events::new(Recorder::new(api.client(), reporter));
        let cache = Arc::new(Cache::default());
        let (sight, nodes) = watch::channel(None);
        let context = Arc::new(Context::new(
            api.clone(),
            cache,
            signals,
            nodes,
            events,
            self.metrics.clone(),
            self.settings.clone(),
        ));
        // How many scopes have been listed whole.
        let (full, mut all_full) = watch::channel(0);
        let waiting = Waiting::new(self.metrics.traffic.clone());
        let mut scopes: Vec<BoxFuture<'_, ()>> = Vec::new();
        let mut queues = Vec::new();
        for namespace in &self.namespaces {
            let news = mpsc::channel(NEWS);
            queues.push((namespace.clone(), news.0.clone()));
            let (full, over) = (full.clone(), over.clone());
            scopes.push(Box::pin(self.scope(namespace.clone(), context.clone(), news, waiting.clone(), full, over)));
        }
        let synced = async {
            let _ = all_full.wait_for(|scopes| *scopes == self.namespaces.len()).await;
            self.synced.send_replace(true);
            std::future::pending::<()>().await;
        };
        // The readers go on until the reconciler has finished: their end must not cut short what is under way.
        let (reconciled, done) = oneshot::channel::<()>();
        let reconciling = async {
            futures::future::join_all(scopes).await;
            let _ = reconciled.send(());
            std::future::pending::<()>().await;
        };
        let readers = readers.run(async {
            let _ = done.await;
        });
        let (told, last) = oneshot::channel::<()>();
        let telling = teller.run(async {
            let _ = last.await;
        });
        let mut telling = std::pin::pin!(telling.fuse());
        let ended = tokio::select! {
            () = reconciling => "the reconciler",
            ended = readers => {
                ended?;
                "the reconciler, or the readers,"
            }
            () = forward(&context, &queues) => "the news",
            () = protect::run(&context) => "the look at busy pods",
            () = synced => "the count of caches",
            () = self.nodes(&api, sight) => "the watch of nodes",
            () = self.later_voice(&api, &pass, &found) => "the search for the key",
            () = &mut telling => "the teller of events",
        };
        // What the last reconciles had to tell.
        let _ = told.send(());
        if timeout(LAST_EVENTS, telling).await.is_err() {
            tracing::warn!("some events were still untold when the term ended");
        }
        let asked = *over.borrow_and_update();
        self.synced.send_replace(false);
        if asked { Ok(()) } else { anyhow::bail!("{ended} ended by itself") }
    }

    /// Watches the nodes, where they can be seen: a Role, which is all there is in `watchNamespaces`, cannot give the right to.
    async fn nodes(&self, api: &ApiServer, sight: watch::Sender<nodes::Sight>) {
        if self.namespaces.contains(&None) {
            return nodes::follow(api.client(), self.metrics.clone(), sight).await;
        }
        nodes::off("nodes cannot be seen from single namespaces");
        sight.send_replace(Some(Arc::default()));
        std::future::pending::<()>().await;
    }

    /// Watches and reconciles one namespace, or all.
    async fn scope(
        &self,
        namespace: Option<String>,
        context: Arc<Context>,
        (news, arriving): (mpsc::Sender<Key>, mpsc::Receiver<Key>),
        waiting: Waiting,
        full: watch::Sender<usize>,
        mut over: watch::Receiver<bool>,
    ) {
        let arriving = waiting.arriving(arriving);
        let (begun, gone) = (waiting.clone(), waiting);
        let (clusters, writer) = store::<Object>();
        let (listed, mut all_listed) = watch::channel(0);
        let told = news.clone();
        let watches = Watches {
            client: context.api.client(),
            traffic: self.metrics.traffic.clone(),
            namespace,
            cache: context.cache.clone(),
            news,
            listed,
        };
        // Nothing is decided on half a list: pods that are only not listed yet would be made a second time.
        let (mut before, mut sighted) = (all_listed.clone(), context.nodes.clone());
        let whole = async move {
            let _ = before.wait_for(|kinds| *kinds == OWNED_KINDS).await;
            let _ = sighted.wait_for(Option::is_some).await;
        };
        let news = whole.map(move |()| arriving).flatten_stream();
        let requests = news.map(|key| Ok::<_, std::convert::Infallible>(request(&key)));
        let mut until = over.clone();
        let requests = requests.take_until(async move {
            let _ = until.wait_for(|over| *over).await;
        });
        let config = ApplierConfig::default().concurrency(CONCURRENCY); // without its debounce: see `queue`
        let reconciler = move |object: Arc<Object>, context| {
            begun.begins(&Key::new(&object.namespace().unwrap_or_default(), &object.name_any()));
            Box::pin(controller::reconcile(object, context))
        };
        let on_error = |object: Arc<Object>, error: &controller::Error, context: Arc<Context>| {
            controller::on_error(&object, error, &context)
        };
        let (size, forgetting) = (clusters.clone(), context.clone());
        let metrics = self.metrics.clone();
        let reconciling = applier(reconciler, on_error, context.clone(), clusters.clone(), requests, config).for_each(
            move |result| {
                metrics.clusters(size.len());
                // Forgotten here and not where the deletion is seen: no reconcile of it is under way at this point.
                if let Err(kube::runtime::controller::Error::ObjectNotFound(object)) = result {
                    let key = Key::new(object.namespace.as_deref().unwrap_or_default(), &object.name);
                    gone.begins(&key);
                    forgetting.forget(&key);
                }
                std::future::ready(())
            },
        );
        let watching = async {
            tokio::join!(watches.clusters(writer), watches.owned());
        };
        let synced = async {
            let _ = all_listed.wait_for(|kinds| *kinds == OWNED_KINDS).await;
            if clusters.wait_until_ready().await.is_ok() {
                full.send_modify(|scopes| *scopes += 1);
            }
            std::future::pending::<()>().await;
        };
        let (all, mut nodes, mut voice) = (clusters.clone(), context.nodes.clone(), context.signals.voice().clone());
        let telling = async move {
            let mut last = None;
            // What concerns every WorkerCluster: whether most nodes are lost, and that primaries can be told something from now on.
            loop {
                tokio::select! {
                    Ok(()) = nodes.changed() => {
                        let outage = nodes.borrow_and_update().as_ref().and_then(|breaker| breaker.outage().cloned());
                        if outage == last {
                            continue;
                        }
                        last = outage;
                    }
                    Ok(()) = voice.changed() => {}
                    else => return,
                }
                for object in all.state() {
                    // The receiver ends with the term; then nobody needs the news.
                    let _ = told.send(Key::new(&object.namespace().unwrap_or_default(), &object.name_any())).await;
                }
            }
        };
        let mut reconciling = std::pin::pin!(reconciling);
        tokio::select! {
            () = &mut reconciling => return,
            () = watching => {}
            () = telling => {}
            () = synced => {}
            _ = over.wait_for(|over| *over) => {}
        }
        // No new work comes; what is under way may finish.
        if timeout(LAST_RECONCILES, reconciling).await.is_err() {
            tracing::warn!("reconciles were still under way when the term ended; the next leader finishes their work");
        }
    }
}

/// Tells the reconciler which WorkerClusters were read anew.
async fn forward(context: &Context, queues: &[(Option<String>, mpsc::Sender<Key>)]) {
    loop {
        let mut news = context.signals.news().await;
        news.retain(|key| context.is_news(key));
        for key in news {
            for (_, queue) in queues
                .iter()
                .filter(|(namespace, _)| namespace.as_deref().is_none_or(|namespace| namespace == &*key.namespace))
            {
                // A full queue has enough to do; the next second brings the same news again.
                if queue.try_send(key.clone()).is_err() {
                    context.untold(&key);
                }
            }
        }
    }
}

fn request(key: &Key) -> ReconcileRequest<Object> {
    ReconcileRequest { obj_ref: ObjectRef::new(&key.name).within(&key.namespace), reason: ReconcileReason::Unknown }
}
