//! The sum of what workers measure with prom-client, which in Node's cluster the program's branch of the primary makes (`AggregatorRegistry`): each
//! worker is asked for its metrics on Node's channel, and what they say is put together by each metric's own rule. Pure; `run::gathering` asks.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Deserializer};

/// More series than this are not put together: they would be the primary's memory.
const MAX_SERIES: usize = 50_000;

/// The primary's own metrics begin so; nobody else speaks for it.
const OWN: &str = "workercluster_";

/// One metric of one worker, as prom-client's `getMetricsAsJSON` has it.
#[derive(Debug, Deserialize)]
pub struct Metric {
    name: String,
    #[serde(default)]
    help: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    values: Vec<Sample>,
    #[serde(default)]
    aggregator: Rule,
}

#[derive(Debug, Deserialize)]
struct Sample {
    /// NaN and the infinities are written as `null`.
    #[serde(default, deserialize_with = "number")]
    value: Option<f64>,
    #[serde(default, deserialize_with = "labels")]
    labels: BTreeMap<String, String>,
    /// Of histograms and summaries: `…_bucket`, `…_sum`, `…_count`.
    #[serde(default, rename = "metricName")]
    name: Option<String>,
}

/// How values of several workers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rule {
    #[default]
    Sum,
    First,
    Min,
    Max,
    Average,
    Omit,
    /// One that a newer prom-client knows, or the program's own.
    #[serde(other)]
    Unknown,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_f64())
}

fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToString::to_string);
    Ok(labels.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// A metric over all workers.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    rule: Rule,
    /// By name and labels, in the order of their names.
    series: BTreeMap<(String, BTreeMap<String, String>), Series>,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    value: f64,
    workers: f64,
}

/// The text of all metrics of all workers, each worker's as it sent them.
pub fn text(workers: &[Vec<Vec<Metric>>]) -> String {
    let mut families: BTreeMap<&str, Family> = BTreeMap::new();
    let mut count = 0;
    for metric in workers.iter().flatten().flatten() {
        let good = is_name(&metric.name) && !metric.name.starts_with(OWN);
        if !good || matches!(metric.aggregator, Rule::Omit | Rule::Unknown) {
            continue;
        }
        let family = families.entry(&metric.name).or_insert_with(|| Family {
            help: metric.help.clone(),
            kind: metric.kind.clone(),
            rule: metric.aggregator,
            series: BTreeMap::new(),
        });
        for sample in &metric.values {
            let name = sample.name.as_ref().unwrap_or(&metric.name);
            let good = is_name(name) && !name.starts_with(OWN) && sample.labels.keys().all(|label| is_label(label));
            let (Some(value), true) = (sample.value, good) else { continue };
            let key = (name.clone(), sample.labels.clone());
            match family.series.get_mut(&key) {
                Some(series) => series.add(value, family.rule),
                None if count < MAX_SERIES => {
                    count += 1;
                    family.series.insert(key, Series { value, workers: 1.0 });
                }
                None => {}
            }
        }
    }
    written(&families)
}

impl Series {
    fn add(&mut self, value: f64, rule: Rule) {
        self.workers += 1.0;
        match rule {
            Rule::Sum | Rule::Average => self.value += value,
            Rule::Min => self.value = self.value.min(value),
            Rule::Max => self.value = self.value.max(value),
            Rule::First | Rule::Omit | Rule::Unknown => {}
        }
    }
}

fn written(families: &BTreeMap<&str, Family>) -> String {
    let mut text = String::new();
    for (name, family) in families {
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        let kind = match family.kind.as_str() {
            kind @ ("counter" | "gauge" | "histogram" | "summary") => kind,
            _ => "untyped",
        };
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for ((name, labels), series) in &family.series {
            let value = if family.rule == Rule::Average { series.value / series.workers } else { series.value };
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

/// The same of a label, but for the colon.
fn is_label(name: &str) -> bool {
    is_name(name) && !name.contains(':')
}

/// What Prometheus takes as a name; anything else would break the page for all others.
fn is_name(name: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    name.chars().all(fits) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn worker(metrics: &str) -> Vec<Vec<Metric>> {
        vec![serde_json::from_str(metrics).unwrap()]
    }

    #[test]
    fn values_of_one_name_and_labels_become_one_by_their_rule() {
        let one = worker(
            r#"[
            {"name": "requests_total", "help": "a\nb", "type": "counter", "aggregator": "sum", "values": [{"value": 2, "labels": {"path": "/a\"b", "code": 200}}, {"value": 1, "labels": {"path": "/"}}]},
            {"name": "start", "type": "gauge", "aggregator": "min", "values": [{"value": 5, "labels": {}}]},
            {"name": "lag", "type": "gauge", "aggregator": "average", "values": [{"value": 1, "labels": {}}]},
            {"name": "version", "type": "gauge", "aggregator": "first", "values": [{"value": 1, "labels": {"v": "22"}}]},
            {"name": "pid", "type": "gauge", "aggregator": "omit", "values": [{"value": 7, "labels": {}}]},
            {"name": "time", "type": "histogram", "values": [{"value": 3, "labels": {"le": 0.5}, "metricName": "time_bucket"}]}
        ]"#,
        );
        let two = worker(
            r#"[
            {"name": "requests_total", "type": "counter", "aggregator": "sum", "values": [{"value": 3, "labels": {"code": 200, "path": "/a\"b"}}]},
            {"name": "start", "type": "gauge", "aggregator": "min", "values": [{"value": 3, "labels": {}}]},
            {"name": "lag", "type": "gauge", "aggregator": "average", "values": [{"value": 2, "labels": {}}]},
            {"name": "version", "type": "gauge", "aggregator": "first", "values": [{"value": 1, "labels": {"v": "22"}}]},
            {"name": "time", "type": "histogram", "values": [{"value": 4, "labels": {"le": 0.5}, "metricName": "time_bucket"}]}
        ]"#,
        );
        let text = text(&[one, two]);
        for line in [
            "# HELP requests_total a\\nb\n# TYPE requests_total counter\n",
            "requests_total{code=\"200\",path=\"/a\\\"b\"} 5\n",
            "requests_total{path=\"/\"} 1\n",
            "\nstart 3\n",
            "\nlag 1.5\n",
            "version{v=\"22\"} 1\n",
            "time_bucket{le=\"0.5\"} 7\n",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("pid"), "{text}");
    }

    #[test]
    fn what_would_break_the_page_is_left_out() {
        let text = text(&[worker(
            r#"[{"name": "a b", "values": [{"value": 1}]}, {"name": "ok", "values": [{"value": null}, {"value": 1, "metricName": "x\ny"}, {"value": 2, "labels": {"a-b": "c"}}, {"value": 3, "labels": {"a:b": "c"}}, {"value": 4}]}, {"name": "workercluster_x", "values": [{"value": 1}]}]"#,
        )]);
        assert_eq!(text, "# HELP ok \n# TYPE ok untyped\nok 4\n");
    }

    proptest! {
        #[test]
        fn every_line_is_one_of_the_format(name in "[a-z_\n\" ]{0,6}", help in "[ -~\n\\\\]{0,9}", label in "[a-z\n=]{0,4}", value in any::<f64>()) {
            let metric = serde_json::json!([{"name": name, "help": help, "values": [{"value": value, "labels": {label: help}}]}]);
            for line in text(&[worker(&metric.to_string())]).lines() {
                prop_assert!(line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{}", line);
            }
        }
    }
}
