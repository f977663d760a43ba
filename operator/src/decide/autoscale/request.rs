//! The processor request that a pod's usage is compared with: that of its worker container, because the primary measures the
//! container that it runs in, and nothing beside it.

use crds::names::WORKER_CONTAINER;
use k8s_openapi::api::core::v1::PodSpec;

use super::input::CpuRequest;

/// What the worker container of a pod requests, in thousandths of a processor, rounded up as Kubernetes does.
#[must_use]
pub fn worker_cpu_request(spec: &PodSpec) -> CpuRequest {
    let index = spec.containers.iter().position(|container| container.name == WORKER_CONTAINER).unwrap_or(0);
    let requested = spec
        .containers
        .get(index)
        .and_then(|container| container.resources.as_ref()?.requests.as_ref()?.get("cpu"))
        .and_then(|quantity| millis(&quantity.0));
    match requested {
        Some(millicores) => CpuRequest::Millicores(millicores),
        None => CpuRequest::Missing {
            container: WORKER_CONTAINER.into(),
            field: format!("spec.template.spec.containers[{index}].resources.requests.cpu"),
        },
    }
}

/// A quantity as Kubernetes writes it (`250m`, `2`, `0.5`), in thousandths, rounded up. `None` for what is no
/// quantity, is negative, or is beyond an `i64`.
fn millis(quantity: &str) -> Option<i64> {
    let number_end = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (decimal, binary) = scale(suffix)?;
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let exponent = decimal + 3 - i32::try_from(fraction.len()).ok()?;
    let value = mantissa.checked_mul(binary)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    let value = match (exponent >= 0, power) {
        (true, power) => value.checked_mul(power?)?,
        (false, Some(power)) => value / power + i128::from(value % power > 0),
        (false, None) => i128::from(value > 0),
    };
    i64::try_from(value).ok()
}

/// Power of ten and factor of a suffix.
fn scale(suffix: &str) -> Option<(i32, i128)> {
    Some(match suffix {
        "n" => (-9, 1),
        "u" => (-6, 1),
        "m" => (-3, 1),
        "" => (0, 1),
        "k" => (3, 1),
        "M" => (6, 1),
        "G" => (9, 1),
        "T" => (12, 1),
        "P" => (15, 1),
        "E" => (18, 1),
        "Ki" => (0, 1 << 10),
        "Mi" => (0, 1 << 20),
        "Gi" => (0, 1 << 30),
        "Ti" => (0, 1 << 40),
        "Pi" => (0, 1 << 50),
        "Ei" => (0, 1 << 60),
        exponent => (exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok().filter(|e| e.abs() <= 30)?, 1),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{Container, ResourceRequirements},
        apimachinery::pkg::api::resource::Quantity,
    };

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let rows = [
            ("250m", Some(250)),
            ("2", Some(2000)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("1.", Some(1000)),
            ("1500u", Some(2)), // rounded up
            ("1n", Some(1)),
            ("0", Some(0)),
            ("1k", Some(1_000_000)),
            ("1Ki", Some(1_024_000)),
            ("2e-1", Some(200)),
            ("1E3", Some(1_000_000)),
            ("1E", None), // exa: more than an i64 of thousandths
            ("1e-30", Some(1)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("-1", None),
            ("NaN", None),
            ("1e99999999999", None),
            ("99999999999999999999999999999999999999999", None),
        ];
        for (quantity, expected) in rows {
            assert_eq!(millis(quantity), expected, "{quantity}");
        }
    }

    fn container(name: &str, cpu: Option<&str>) -> Container {
        let requests = cpu.map(|cpu| [("cpu".to_owned(), Quantity(cpu.into()))].into());
        Container {
            name: name.into(),
            resources: Some(ResourceRequirements { requests, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn the_worker_containers_request_counts_and_no_sidecars() {
        let containers = vec![container("proxy", Some("4")), container("worker", Some("500m"))];
        assert_eq!(worker_cpu_request(&PodSpec { containers, ..Default::default() }), CpuRequest::Millicores(500));
    }

    #[test]
    fn a_worker_without_a_request_is_named_with_its_field() {
        let containers = vec![container("proxy", Some("4")), container("worker", None)];
        let expected = CpuRequest::Missing {
            container: "worker".into(),
            field: "spec.template.spec.containers[1].resources.requests.cpu".into(),
        };
        assert_eq!(worker_cpu_request(&PodSpec { containers, ..Default::default() }), expected);
    }
}
