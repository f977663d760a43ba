//! What the operator and the API server count, taken twice and subtracted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use e2e::Space;
use kube::{Client, ResourceExt};

/// All series of a text in Prometheus' format: value by name with labels.
#[derive(Clone, Debug, Default)]
pub struct Series(BTreeMap<String, f64>);

/// A histogram of what came in between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bound in seconds, and how many were at or below it.
    buckets: Vec<(f64, f64)>,
}

// === impl Series ===

impl Series {
    /// The working operator's, through the API server.
    pub async fn of_operator(space: &Space) -> Result<Self> {
        let pod = space.operator().await?;
        let (namespace, name) = (pod.namespace().context("no namespace")?, pod.name_any());
        Self::get(&space.client, &format!("/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/metrics")).await
    }

    /// The API server's own.
    pub async fn of_api_server(client: &Client) -> Result<Self> {
        Self::get(client, "/metrics").await
    }

    async fn get(client: &Client, path: &str) -> Result<Self> {
        let text = client.request_text(http::Request::get(path).body(Vec::new())?).await?;
        Ok(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// What came on top of `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().map(|(name, value)| (name.clone(), value - before.0.get(name).unwrap_or(&0.0))).collect())
    }

    /// The sum of all series of a metric whose labels hold for `which`.
    pub fn sum(&self, metric: &str, which: impl Fn(&dyn Fn(&str) -> String) -> bool) -> f64 {
        let of_metric = self.0.iter().filter(|(name, _)| name.split('{').next() == Some(metric));
        of_metric
            .filter(|(name, _)| which(&|key| label(name, key).unwrap_or_default().to_owned()))
            .map(|(_, value)| value)
            .sum()
    }

    /// The sums of a metric by some of its labels, where they are not 0: for people.
    pub fn by(
        &self,
        metric: &str,
        labels: &[&str],
        which: impl Fn(&dyn Fn(&str) -> String) -> bool,
    ) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (name, value) in
            self.0.iter().filter(|(name, value)| **value != 0.0 && name.split('{').next() == Some(metric))
        {
            if which(&|key| label(name, key).unwrap_or_default().to_owned()) {
                let key: Vec<&str> = labels.iter().filter_map(|key| label(name, key)).collect();
                *sums.entry(key.join(" ")).or_default() += value;
            }
        }
        sums
    }

    /// A histogram without labels.
    pub fn histogram(&self, metric: &str) -> Histogram {
        let prefix = format!("{metric}_bucket{{");
        let of_metric = self.0.iter().filter(|(name, _)| name.starts_with(&prefix));
        let mut buckets: Vec<(f64, f64)> = of_metric
            .filter_map(|(name, count)| {
                let bound = label(name, "le")?;
                Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, *count))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Histogram { buckets }
    }
}

/// The value of a label in `name{key="value",…}`.
fn label<'a>(name: &'a str, key: &str) -> Option<&'a str> {
    let labels = name.split_once('{')?.1;
    let found = labels.match_indices(key).find(|(at, _)| {
        let starts = *at == 0 || labels.as_bytes()[at - 1] == b',';
        starts && labels[at + key.len()..].starts_with("=\"")
    });
    let value = &labels[found?.0 + key.len() + 2..];
    value.split('"').next()
}

// === impl Histogram ===

impl Histogram {
    /// How many there were.
    pub fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// The bound in seconds of the bucket in which so many of a hundred are: the truth is not above it.
    pub fn percentile(&self, percent: f64) -> f64 {
        let wanted = self.count() * percent / 100.0;
        self.buckets.iter().find(|(_, count)| *count >= wanted).map_or(f64::NAN, |(bound, _)| *bound)
    }

    /// Both figures in words.
    pub fn text(&self) -> String {
        let ms = |percent: f64| match self.percentile(percent) * 1000.0 {
            bound if bound.is_finite() => format!("{bound:.0}"),
            _ => "more than 30000".to_owned(),
        };
        format!("p50 <= {}, p99 <= {} ms ({} of them)", ms(50.0), ms(99.0), self.count())
    }
}

#[test]
fn what_came_in_between_is_told_apart_by_its_labels() {
    let before = Series::read(
        "calls{verb=\"get\",resource=\"pods\"} 3\nseconds_bucket{le=\"0.1\"} 1\nseconds_bucket{le=\"+Inf\"} 1\n",
    );
    let after = Series::read(
        "# HELP calls x\ncalls{verb=\"get\",resource=\"pods\"} 5\ncalls{verb=\"list\",resource=\"pods\"} 1\n\
         seconds_bucket{le=\"0.1\"} 99\nseconds_bucket{le=\"0.3\"} 100\nseconds_bucket{le=\"+Inf\"} 101\n",
    );
    let between = after.since(&before);
    assert!((between.sum("calls", |label| label("verb") == "get") - 2.0).abs() < 0.1);
    assert_eq!(between.by("calls", &["verb"], |_| true).keys().collect::<Vec<_>>(), ["get", "list"]);
    let seconds = between.histogram("seconds");
    assert!((seconds.count() - 100.0).abs() < 0.1);
    assert_eq!((seconds.percentile(50.0), seconds.percentile(99.0)), (0.1, 0.3));
}
