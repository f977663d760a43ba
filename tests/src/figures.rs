//! Figures that a test measures, printed in one form, so that a closing note can quote them: `FIGURE name = value unit`.

use std::time::Duration;

/// Prints a figure.
pub fn figure(name: &str, value: impl std::fmt::Display, unit: &str) {
    println!("FIGURE {name} = {value} {unit}");
}

/// The middle of the sorted values, in milliseconds.
#[must_use]
pub fn median_ms(values: &[Duration]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(|value| value.as_secs_f64() * 1000.0).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
