//! Who decides how many replicas there are.

use std::{fmt, net::SocketAddr, time::Duration};

use anyhow::Result;
use e2e::{Space, manifest, until};
use kube::ResourceExt;
use serde_json::{Value, json};

/// A request of 400 ms, of which 10 are work: as much of it as that takes on a processor of its own, however many others run.
const SERVER: &str = r"
const { createHash } = require('crypto');
const hash = (times) => { let it = 'x'; while (times-- > 0) it = createHash('sha256').update(it).digest(); };
const took = () => { const before = process.cpuUsage().user; hash(20000); return (process.cpuUsage().user - before) / 20000; };
took(); took(); // until it is compiled: before that it takes three times as long
const times = Math.round(10000 / took());
require('http').createServer((req, res) => setTimeout(() => { hash(times); res.end('ok'); }, 390)).listen(process.env.PORT);
";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `metrics: [{requests}]`
    Requests,
    /// A HorizontalPodAutoscaler on processor time, as it is without `behavior`.
    Hpa,
    /// The same, allowed to go up at once and down after a minute.
    HpaTuned,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Requests => "requests",
            Self::Hpa => "HPA on CPU",
            Self::HpaTuned => "HPA on CPU, tuned",
        })
    }
}

const MOST: i32 = 8;

/// One replica with four places, and with as many more as requests ask for, up to so many.
pub async fn apply(space: &Space, name: &str, processor: &str, most: Option<i32>) -> Result<()> {
    space.apply(&manifest::program(name, "server.js", SERVER)).await?;
    let mut cluster = manifest::cluster(name, "node:22", &["node", "/program/server.js"], 1, 1);
    cluster["spec"]["http"] = json!({"port": 8000, "balancing": "Queue", "maxInFlightPerWorker": 4});
    cluster["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!(processor);
    if let Some(most) = most {
        cluster["spec"]["autoscaling"] = json!({
            "minReplicas": 1, "maxReplicas": most, "metrics": [{"requests": {"targetInFlightPercent": 70}}]
        });
    }
    space.apply(&cluster).await?;
    Ok(())
}

impl Side {
    pub const ALL: [Self; 3] = [Self::Requests, Self::Hpa, Self::HpaTuned];

    /// Of its WorkerCluster, and of its HPA where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Hpa => "hpa",
            Self::HpaTuned => "hpa-tuned",
        }
    }

    /// One replica that serves; gives where.
    pub async fn start(self, space: &Space) -> Result<SocketAddr> {
        let name = self.name();
        apply(space, name, "100m", (self == Self::Requests).then_some(MOST)).await?;
        space.ready(name, 1).await?;
        if let Some(hpa) = self.hpa() {
            space.apply(&hpa).await?;
            until("the HPA to know the processor time", Duration::from_secs(120), async || {
                let text = space.kubectl(&["get", "hpa", name, "-o", "jsonpath={.status.currentMetrics}"]).await?;
                Ok(if text.contains("averageUtilization") { Ok(()) } else { Err(text) })
            })
            .await?;
            // What the start of the program used may have scaled it up.
            until("one replica again", Duration::from_secs(420), async || {
                let text = space.kubectl(&["get", "wc", name, "-o", "jsonpath={.spec.replicas}"]).await?;
                Ok(if text == "1" { Ok(()) } else { Err(text) })
            })
            .await?;
        }
        space.address(name, 8000).await
    }

    fn hpa(self) -> Option<Value> {
        let behavior = match self {
            Self::Requests => return None,
            Self::Hpa => json!({}),
            Self::HpaTuned => json!({
                "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 100, "periodSeconds": 1}]},
                "scaleDown": {"stabilizationWindowSeconds": 60, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]}
            }),
        };
        let target = json!({"apiVersion": "workercluster.dev/v1alpha1", "kind": "WorkerCluster", "name": self.name()});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}});
        Some(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": self.name()},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": MOST, "metrics": [cpu], "behavior": behavior}
        }))
    }

    pub async fn stop(self, space: &Space) -> Result<()> {
        space.kubectl(&["delete", "hpa", self.name(), "--ignore-not-found"]).await?;
        space.kubectl(&["delete", "wc", self.name()]).await?;
        until("its pods to be gone", Duration::from_secs(90), async || {
            let left: Vec<String> = space.pods(self.name()).await?.iter().map(ResourceExt::name_any).collect();
            Ok(if left.is_empty() { Ok(()) } else { Err(left.join(", ")) })
        })
        .await
    }
}
