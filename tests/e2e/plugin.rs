//! `kubectl wc`: the plugin as its users call it, through kubectl.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use crds::WorkerCluster;
use e2e::{Space, figures::figure, manifest, space::PATIENCE, until};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::process::Command;

/// What a call printed and how it ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

/// Longer than any call here waits by itself.
const LIMIT: Duration = Duration::from_secs(120);

/// Where `cargo build --package cli` puts the plugin: beside the tests, whose own folder is `deps`.
fn folder() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(|deps| deps.parent()).context("a test without a folder")?;
    ensure!(folder.join("kubectl-wc").exists(), "no kubectl-wc in {}: cargo build --package cli", folder.display());
    Ok(folder.into())
}

/// `kubectl wc -n NAMESPACE LINE`.
async fn call(space: &Space, line: &str) -> Result<Ended> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("kubectl")
        .args(["wc", "-n", &space.namespace])
        .args(line.split_whitespace())
        .env("PATH", format!("{}:{path}", folder()?.display()))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output).await.with_context(|| format!("kubectl wc {line} hangs"))??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ended = Ended {
        code: output.status.code().context("killed by a signal")?,
        out: text(&output.stdout),
        err: text(&output.stderr),
    };
    println!("$ kubectl wc {line}\n{}{}", ended.out, ended.err);
    Ok(ended)
}

/// The same, and it must end with 0; what it printed.
pub async fn done(space: &Space, line: &str) -> Result<String> {
    let ended = call(space, line).await?;
    ensure!(ended.code == 0, "kubectl wc {line}: code {}", ended.code);
    Ok(ended.out)
}

/// The same, and it must end with 1; what it said.
async fn fails(space: &Space, line: &str, words: &[&str]) -> Result<Ended> {
    let ended = call(space, line).await?;
    ensure!(ended.code == 1, "kubectl wc {line}: code {}", ended.code);
    for word in words {
        ensure!(ended.err.contains(word), "kubectl wc {line} does not say {word:?}: {}", ended.err);
    }
    Ok(ended)
}

async fn json_of(space: &Space, line: &str) -> Result<Value> {
    Ok(serde_json::from_str(&done(space, &format!("{line} -o json")).await?)?)
}

/// Number and whether it is current of each revision.
async fn history(space: &Space) -> Result<Vec<(i64, bool)>> {
    let revisions = json_of(space, "rollout history web").await?;
    let revisions = revisions.as_array().context("no list")?.iter();
    Ok(revisions.map(|one| (one["revision"].as_i64().unwrap_or(0), one["current"] == true)).collect())
}

async fn start(space: &Space, spec: Value) -> Result<BTreeMap<String, String>> {
    space.apply(&manifest::idle("web", &spec)).await?;
    done(space, "rollout status web --timeout 90s").await?;
    space.uids("web").await
}

/// A merge patch of the image; the list of containers is replaced as a whole, so all of it is said again.
fn image(image: &str) -> Value {
    let mut containers = manifest::idle("web", &json!({}))["spec"]["template"]["spec"]["containers"].take();
    containers[0]["image"] = json!(image);
    // Else the kubelet would look for a registry, which takes it longer than the deadline.
    containers[0]["imagePullPolicy"] = json!("Never");
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_tells_of_a_workercluster_what_is_so() -> Result<()> {
    Space::run("wc-status", |space| async move {
        fails(&space, "status web", &["no WorkerCluster \"web\"", &space.namespace]).await?;
        let uids = start(&space, json!({"replicas": 2})).await?;
        let text = done(&space, "status web").await?;
        for part in ["2 wanted", "2 ready", "AllReplicasReady", "PodsCreated"] {
            ensure!(text.contains(part), "{part:?} is not in it");
        }
        for pod in uids.keys() {
            ensure!(text.contains(pod.as_str()), "pod {pod} is not in it");
        }
        ensure!(!text.contains('\x1b'), "colours without a terminal");
        let value = json_of(&space, "status web").await?;
        ensure!(value["rollout"]["state"] == "Done" && value["rollout"]["revision"] == 1, "{value}");
        ensure!(value["pods"].as_array().map(Vec::len) == Some(2), "{value}");
        let list = done(&space, "status").await?;
        ensure!(list.lines().any(|line| line.starts_with("web") && line.contains("2/2")), "it is not in the list");
        fails(&space, "status wbe", &["there are: web"]).await?;
        fails(&space, "status web --as nobody", &["no right to get workerclusters", "auth can-i"]).await?;
        fails(&space, "rollout status web --revision 7", &["revision 7 is not the current one"]).await?;
        ensure!(call(&space, "rollout stauts web").await?.code == 64, "wrong usage is not told by 64");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_change_waits_until_it_is_resumed_and_is_not_told_as_done() -> Result<()> {
    Space::run("wc-pause", |space| async move {
        let before = start(&space, json!({"replicas": 2})).await?;
        done(&space, "rollout pause web").await?;
        space.patch("web", json!({"spec": {"workers": {"drainSeconds": 1}}})).await?;
        fails(&space, "rollout status web --timeout 15s", &["paused", "a change waits", "rollout resume web"]).await?;
        ensure!(space.uids("web").await? == before, "pods were replaced in spite of the pause");
        fails(&space, "rollout undo web", &["paused", "rollout resume web"]).await?;
        fails(&space, "rollout restart web", &["paused", "rollout resume web"]).await?;
        ensure!(history(&space).await? == [(1, true)], "a revision that no pod was to have");
        done(&space, "rollout resume web").await?;
        done(&space, "rollout status web --timeout 90s").await?;
        let after = space.uids("web").await?;
        ensure!(after.len() == 2 && after.values().all(|uid| !before.values().any(|old| old == uid)), "{after:?}");
        ensure!(history(&space).await? == [(1, false), (2, true)], "not the second revision");
        // The way back takes away what was not there before.
        done(&space, "rollout undo web").await?;
        done(&space, "rollout status web --timeout 90s").await?;
        let workers = space.api::<WorkerCluster>().get("web").await?.spec.workers;
        ensure!(workers.drain_seconds == 0, "{workers:?}");
        ensure!(history(&space).await? == [(2, false), (3, true)], "not the first revision with the next number");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replaces_every_pod_and_is_taken_by_those_who_apply_on_the_server() -> Result<()> {
    Space::run("wc-restart", |space| async move {
        let before = start(&space, json!({"replicas": 3})).await?;
        let begun = Instant::now();
        done(&space, "rollout restart web").await?;
        let text = done(&space, "rollout status web --timeout 90s").await?;
        figure("kubectl wc: restart of 3 pods", format!("{:.1}", begun.elapsed().as_secs_f32()), "s");
        ensure!(text.lines().count() >= 2, "no step was told");
        let after = space.uids("web").await?;
        ensure!(after.len() == 3 && after.values().all(|uid| !before.values().any(|old| old == uid)), "{after:?}");
        // Applied again by its owner, without force: nothing is fought over, and nothing restarts.
        let yaml = serde_json::to_string(&manifest::idle("web", &json!({"replicas": 3})))?;
        space.kubectl_with(&["apply", "--server-side", "--field-manager=e2e", "-f", "-"], &yaml).await?;
        let generation = space.api::<WorkerCluster>().get("web").await?.metadata.generation;
        until("the applied spec to be seen", PATIENCE, async || {
            let seen = space.api::<WorkerCluster>().get("web").await?.status.map(|status| status.observed_generation);
            Ok(if seen == generation { Ok(()) } else { Err(format!("{seen:?}")) })
        })
        .await?;
        ensure!(space.uids("web").await? == after, "applying the same again restarted pods");
        let cluster = space.api::<WorkerCluster>().get("web").await?;
        let managers: Vec<_> = cluster.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
        ensure!(managers.iter().any(|manager| manager == "kubectl-wc"), "{managers:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_fails_within_the_deadline_and_undo_makes_all_well() -> Result<()> {
    Space::run("wc-undo", |space| async move {
        let before = start(&space, json!({"replicas": 2})).await?;
        let mut broken = image("redis:typo");
        broken["metadata"] = json!({"annotations": {"kubernetes.io/change-cause": "a typo"}});
        space.patch("web", broken).await?;
        // A busy kubelet takes its time to say what is wrong; from then on the deadline may be short.
        until("what is wrong with the new pod", PATIENCE, async || {
            let pods = json_of(&space, "status web").await?["pods"].take();
            Ok(if pods.to_string().contains("ErrImageNeverPull") { Ok(()) } else { Err(pods.to_string()) })
        })
        .await?;
        space.patch("web", json!({"spec": {"rollout": {"progressDeadlineSeconds": 6}}})).await?;
        let begun = Instant::now();
        let ended = fails(&space, "rollout status web --timeout 60s", &["ProgressDeadlineExceeded"]).await?;
        let took = begun.elapsed();
        figure("kubectl wc: deadline of at most 6 s told after", format!("{:.1}", took.as_secs_f32()), "s");
        ensure!(took < Duration::from_secs(15), "told after {took:?}");
        ensure!(ended.out.contains("ErrImageNeverPull"), "why is not told: {}", ended.out);
        let table = done(&space, "rollout history web").await?;
        ensure!(table.lines().any(|line| line.starts_with("2 *") && line.ends_with("a typo")), "{table}");

        let dry = done(&space, "rollout undo web --dry-run").await?;
        ensure!(dry.contains("redis:typo") && dry.contains("redis:7"), "what would change is not told: {dry}");
        ensure!(history(&space).await? == [(1, false), (2, true)], "a dry run changed something");
        let begun = Instant::now();
        done(&space, "rollout undo web").await?;
        done(&space, "rollout status web --timeout 60s").await?;
        figure("kubectl wc: undo to done", format!("{:.1}", begun.elapsed().as_secs_f32()), "s");
        ensure!(space.uids("web").await? == before, "pods that were well were replaced");
        ensure!(history(&space).await? == [(2, false), (3, true)], "the way back has not the next number");
        let cluster = space.api::<WorkerCluster>().get("web").await?;
        ensure!(
            !cluster.annotations().contains_key("kubernetes.io/change-cause"),
            "the reason of the broken revision stayed"
        );
        fails(&space, "rollout undo web --to-revision 1", &["there is no revision 1; kept are 2, 3"]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_is_refused_is_told_with_its_path_and_undo_goes_back_to_the_last_good_one() -> Result<()> {
    Space::run("wc-stalled", |space| async move {
        let before = start(&space, json!({"replicas": 1})).await?;
        space.patch("web", json!({"spec": {"template": {"spec": {"hostNetwork": true}}}})).await?;
        fails(&space, "rollout status web --timeout 60s", &["InvalidTemplate", "hostNetwork"]).await?;
        done(&space, "rollout undo web").await?;
        done(&space, "rollout status web --timeout 60s").await?;
        ensure!(space.uids("web").await? == before, "the pod that was well was replaced");
        ensure!(history(&space).await? == [(1, true)], "a refused spec became a revision");
        Ok(())
    })
    .await
}

/// Says, five times a second, which pod it is and how often it has said so.
const TALKER: &str = r#"n=0; while :; do n=$((n+1)); echo "{\"pod\":\"$HOSTNAME\",\"n\":$n}"; sleep 0.2; done"#;

/// Pod and number of each line that the talker wrote. Others are the primary's.
fn said(text: &str) -> Vec<(String, u64)> {
    let values = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter_map(|value| Some((value["pod"].as_str()?.to_owned(), value["n"].as_u64()?))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_of_all_replicas_are_one_text_and_go_on_with_those_that_come_later() -> Result<()> {
    Space::run("wc-logs", |space| async move {
        let mut template = manifest::idle("web", &json!({}))["spec"]["template"].take();
        template["spec"]["containers"][0]["command"] = json!(["sh", "-c", TALKER]);
        let pods = start(&space, json!({"replicas": 2, "template": template})).await?;
        let heard = async |line: &str, wanted: usize| {
            until("lines of every pod", PATIENCE, async || {
                let text = done(&space, line).await?;
                let all: BTreeMap<_, _> = said(&text).into_iter().collect();
                Ok(if all.len() == wanted { Ok(text) } else { Err(format!("{all:?}")) })
            })
            .await
        };
        let text = heard("logs web --tail 10", 2).await?;
        ensure!(said(&text).len() <= 20 && !text.contains('\x1b'), "more than was asked for");
        for pod in pods.keys() {
            let marked = format!("[{}] ", pod.trim_start_matches("web-"));
            let text = done(&space, &format!("logs web --pod {pod} --prefix always --tail 5")).await?;
            ensure!(text.lines().all(|line| line.starts_with(&marked)), "not every line is marked with {marked}");
        }
        let times = done(&space, "logs web --timestamps --since 1m").await?;
        let times: Vec<&str> = times.lines().filter_map(|line| line.split(' ').next()).collect();
        ensure!(times.len() > 10 && times.is_sorted(), "lines are not in the order in which they were written");
        fails(&space, "logs web --pod nobody", &["has no pod \"nobody\"; there are: web-"]).await?;
        fails(&space, "logs web -f --pod nobody", &["has no pod \"nobody\""]).await?;
        fails(&space, "logs web --max-log-requests 1", &["2 pods", "--pod"]).await?;

        let path = format!("{}:{}", folder()?.display(), std::env::var("PATH").unwrap_or_default());
        let file = std::env::temp_dir().join(format!("{}.log", space.namespace));
        let mut following = Command::new("kubectl")
            .args(["wc", "-n", &space.namespace, "logs", "web", "-f", "--tail", "0"])
            .env("PATH", path)
            .stdout(std::fs::File::create(&file)?)
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let from = async |count: usize| {
            until("lines of every pod", PATIENCE, async || {
                let all: BTreeMap<_, _> = said(&std::fs::read_to_string(&file)?).into_iter().collect();
                Ok(if all.len() == count { Ok(()) } else { Err(format!("{all:?}")) })
            })
            .await
        };
        from(2).await?;
        space.patch("web", json!({"spec": {"replicas": 3}})).await?;
        from(3).await?;
        space.kubectl(&["delete", "workercluster", "web", "--wait=false"]).await?;
        let status = tokio::time::timeout(LIMIT, following.wait()).await.context("logs -f did not end")??;
        ensure!(status.code() == Some(1), "logs -f of what was deleted ended with {status}");
        let text = std::fs::read_to_string(&file)?;
        let mut last = BTreeMap::new();
        for (pod, number) in said(&text) {
            let before = last.insert(pod.clone(), number);
            ensure!(before.is_none_or(|before| number == before + 1), "{pod}: {number} after {before:?}");
        }
        let new = last.keys().find(|pod| !pods.contains_key(*pod)).context("no third pod")?;
        ensure!(said(&text).contains(&(new.clone(), 1)), "the beginning of the third pod is missing");
        figure("kubectl wc logs -f: lines of 3 pods, none twice, none missing", said(&text).len(), "");
        std::fs::remove_file(&file)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_shows_single_workers_and_steers_them() -> Result<()> {
    Space::run("wc-top", |space| async move {
        start(&space, json!({"replicas": 2, "workers": {"count": 2, "drainSeconds": 0, "ready": "Immediate"}})).await?;
        let text = done(&space, "top web").await?;
        ensure!(text.contains("2 of 2 replicas answer, 4 of 4 workers ready"), "{text}");
        let value = json_of(&space, "top web").await?;
        let pids = |value: &Value| -> Vec<i64> {
            let processes = value
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|pod| pod["told"]["processes"].as_array().cloned().unwrap_or_default());
            processes.filter_map(|process| process["pid"].as_i64()).collect()
        };
        ensure!(pids(&value).len() == 4 && value[0]["told"]["processes"][0]["memoryBytes"].is_u64(), "{value}");
        let uids = space.uids("web").await?;
        let text = done(&space, "reload web --at-once 2 --timeout 60s").await?;
        ensure!(text.contains("2 of 2 replicas have fresh workers"), "{text}");
        ensure!(space.uids("web").await? == uids, "pods were replaced");
        let after = json_of(&space, "top web").await?;
        let fresh = after.as_array().into_iter().flatten().all(|pod| pod["told"]["replaced"]["reloaded"] == 2);
        ensure!(fresh, "{after}");
        let pod = uids.keys().next().context("no pod")?;
        let text = done(&space, &format!("drain {pod}")).await?;
        ensure!(text.contains("of web is drained"), "{text}");
        space.condition("web", "Ready", "False", "").await?;
        ensure!(done(&space, "top web").await?.contains("drained by order"), "it is not to be seen");
        done(&space, &format!("undrain {pod}")).await?;
        space.ready("web", 2).await?;
        fails(&space, "drain nobody", &["no pod \"nobody\""]).await?;
        fails(&space, "top web --as nobody", &["no right to get workerclusters"]).await?;
        Ok(())
    })
    .await
}
