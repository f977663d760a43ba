//! Reads an ecosystem file: JSON and YAML here, JavaScript by Node, which is what such a file is written for.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// No such file, and nothing that it makes, is longer.
const LONGEST: u64 = 4 << 20;

/// Has Node load the file and print what it exports.
const PRINT: &str = "Promise.resolve(require(require('path').resolve(process.argv[1]))).then((made) => process.stdout.write(JSON.stringify(made)))";

/// Why an ecosystem file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("{file}: {cause}")]
    Unreadable {
        /// Its path.
        file: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// It is JavaScript, and there is no Node.
    #[error(
        "{file} is JavaScript, and node cannot be started ({cause}): run this where node is, or give the file as JSON"
    )]
    NoNode {
        /// Its path.
        file: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{file} is no ecosystem file of PM2: {cause}")]
    Malformed {
        /// Its path.
        file: String,
        /// What is wrong.
        cause: String,
    },
}

/// What the file says.
///
/// # Errors
/// With the file, and what to do.
pub fn read(path: &Path) -> Result<Value, SourceError> {
    let file = path.display().to_string();
    let malformed = |cause: String| SourceError::Malformed { file: file.clone(), cause };
    let unreadable = |cause| SourceError::Unreadable { file: file.clone(), cause };
    let opened = std::fs::File::open(path).map_err(unreadable)?;
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    if matches!(kind, "js" | "cjs" | "mjs") {
        return exported(path, &file);
    }
    let mut text = String::new();
    opened.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    match kind {
        "yaml" | "yml" => serde_yaml_ng::from_str(&text).map_err(|error| malformed(error.to_string())),
        _ => serde_json::from_str(&text).map_err(|error| malformed(error.to_string())),
    }
}

/// What a JavaScript file exports.
fn exported(path: &Path, file: &str) -> Result<Value, SourceError> {
    let malformed = |cause: String| SourceError::Malformed { file: file.to_string(), cause };
    let output = Command::new("node").args(["-e", PRINT]).arg(path).stdin(Stdio::null()).output();
    let output = output.map_err(|cause| SourceError::NoNode { file: file.to_string(), cause })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let error = words.lines().find(|line| line.contains("Error")).or(words.lines().last()).unwrap_or("node failed");
        return Err(malformed(error.chars().take(300).collect()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| malformed(format!("it exports no plain object: {error}")))
}
