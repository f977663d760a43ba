//! A file with the same options as the command line: TOML, YAML or JSON, with the options' names in camelCase, as the resource spells them.
//! What a file says stands in for clap's defaults, so that flags and variables win over it, and each value is checked in one place.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use serde_json::{Map, Value};

/// No such file is longer.
const LONGEST: u64 = 1 << 20;

/// The variable that names the file, where no flag does.
const VARIABLE: &str = "WORKERCLUSTER_CONFIG";

/// Options that are not for a file: it would name itself, or hold what belongs to one pod.
const NOT_IN_FILES: [&str; 5] = ["config", "control_keys", "pod_uid", "config_revision", "reload_id"];

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("--config {file}: {cause}")]
    Unreadable {
        /// Its path.
        file: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// It is a folder, a pipe or a device: reading it could go on for ever.
    #[error("--config {0}: it is no plain file")]
    NoFile(String),
    /// Its name does not say what it is.
    #[error("--config {0}: name it .toml, .yaml, .yml or .json, so that it is known how to read it")]
    Kind(String),
    /// It is not what its name says.
    #[error("--config {file}: {cause}")]
    Malformed {
        /// Its path.
        file: String,
        /// Where, and what.
        cause: String,
    },
    /// It has a key that there is not.
    #[error("--config {file}: there is no {key}{guess}; there are: {known}")]
    Unknown {
        /// Its path.
        file: String,
        /// The key.
        key: String,
        /// What may have been meant.
        guess: String,
        /// All keys.
        known: String,
    },
    /// A value of another kind.
    #[error("--config {file}: {key}: {what}")]
    Value {
        /// Its path.
        file: String,
        /// The key.
        key: String,
        /// What is wrong, and what is possible.
        what: &'static str,
    },
}

/// What a file says.
#[derive(Debug, Default, PartialEq)]
pub struct Settings {
    /// By the option's id, as text.
    values: Vec<(String, String)>,
    /// The program to run, where the command line names none.
    pub command: Vec<OsString>,
}

/// The file that the arguments or the environment name.
pub fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let mut words = arguments.iter().skip(1).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" || word == "-c" {
            return words.next().map(PathBuf::from);
        }
        let word = word.to_str().unwrap_or_default();
        let long = word.strip_prefix("--config=");
        let short = || word.strip_prefix("-c").filter(|_| !word.starts_with("--"));
        if let Some(file) = long.or_else(|| short().map(|file| file.strip_prefix('=').unwrap_or(file))) {
            return Some(PathBuf::from(file));
        }
    }
    std::env::var_os(VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from)
}

/// Reads a file for the options of `command`.
///
/// # Errors
/// With the file, the key, and what is possible.
pub fn read(path: &Path, command: &Command) -> Result<Settings, FileError> {
    let file = path.display().to_string();
    let mut text = String::new();
    let unreadable = |cause| FileError::Unreadable { file: path.display().to_string(), cause };
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(FileError::NoFile(file));
    }
    File::open(path).map_err(unreadable)?.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    parse(&text, kind, &file, command)
}

fn parse(text: &str, kind: &str, file: &str, command: &Command) -> Result<Settings, FileError> {
    let malformed = |cause: String| FileError::Malformed { file: file.to_string(), cause };
    let document: Value = match kind {
        "toml" => toml::from_str(text).map_err(|error| malformed(error.to_string()))?,
        "yaml" | "yml" => serde_yaml_ng::from_str(text).map_err(|error| malformed(error.to_string()))?,
        "json" => serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?,
        _ => return Err(FileError::Kind(file.to_string())),
    };
    match document {
        Value::Null => Ok(Settings::default()),
        Value::Object(fields) => settings(fields, file, command),
        _ => Err(malformed("not a list of keys and values".to_string())),
    }
}

fn settings(fields: Map<String, Value>, file: &str, command: &Command) -> Result<Settings, FileError> {
    let mut settings = Settings::default();
    for (key, value) in fields {
        let wrong = |what| FileError::Value { file: file.to_string(), key: key.clone(), what };
        if key == "command" {
            settings.command =
                words(&value).ok_or_else(|| wrong("give a list of words, as [\"node\", \"server.js\"]"))?;
            continue;
        }
        let Some(option) = options(command).find(|option| camel(option.get_id().as_str()) == key) else {
            return Err(unknown(key, file, command));
        };
        let is_switch = matches!(option.get_action(), ArgAction::SetTrue);
        let text = match value {
            Value::Bool(value) if is_switch => value.to_string(),
            _ if is_switch => return Err(wrong("give true or false")),
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return Err(wrong("give one value: a text or a number")),
        };
        settings.values.push((option.get_id().to_string(), text));
    }
    Ok(settings)
}

/// A list of words, or one text as a shell would be given it.
fn words(value: &Value) -> Option<Vec<OsString>> {
    let words: Option<Vec<OsString>> = value.as_array()?.iter().map(|word| word.as_str().map(OsString::from)).collect();
    words.filter(|words| !words.is_empty())
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|option| {
        option.get_long().is_some() && !NOT_IN_FILES.contains(&option.get_id().as_str()) && !option.is_global_set()
    })
}

/// `drain_seconds` as `drainSeconds`.
fn camel(id: &str) -> String {
    let mut name = String::new();
    let mut upper = false;
    for letter in id.chars() {
        if letter == '_' {
            upper = true;
        } else {
            name.push(if upper { letter.to_ascii_uppercase() } else { letter });
            upper = false;
        }
    }
    name
}

fn unknown(key: String, file: &str, command: &Command) -> FileError {
    let known: Vec<String> =
        options(command).map(|option| camel(option.get_id().as_str())).chain(["command".to_string()]).collect();
    // As it is on the command line, or in another case: the most that people mistake.
    let plain = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
    let guess = known.iter().find(|name| plain(name) == plain(&key));
    let guess = guess.map(|name| format!(" (is {name} meant?)")).unwrap_or_default();
    FileError::Unknown { file: file.to_string(), key, guess, known: known.join(", ") }
}

impl Settings {
    /// The options with what the file says in place of their defaults.
    pub fn defaults_of(&self, mut command: Command) -> Command {
        for (id, value) in &self.values {
            let value = value.clone();
            command = command.mut_arg(id, |option| option.default_value(value));
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::args::Cli;
    use super::*;

    fn read(text: &str, kind: &str) -> Result<Settings, FileError> {
        parse(text, kind, &format!("primary.{kind}"), &Cli::command())
    }

    #[test]
    fn the_three_kinds_say_the_same() {
        let toml = "instances = 3\ndrainSeconds = 5\nshutdownMessage = true\ncommand = [\"node\", \"a b.js\"]\n";
        let yaml = "instances: 3\ndrainSeconds: 5\nshutdownMessage: true\ncommand: [node, a b.js]\n";
        let json = r#"{"instances": 3, "drainSeconds": 5, "shutdownMessage": true, "command": ["node", "a b.js"]}"#;
        let sorted = |text, kind| {
            let mut settings = read(text, kind).unwrap();
            settings.values.sort();
            settings
        };
        let expected = sorted(json, "json");
        assert_eq!(expected.command, ["node", "a b.js"]);
        assert_eq!(expected.values.len(), 3);
        assert_eq!(sorted(toml, "toml"), expected);
        assert_eq!(sorted(yaml, "yaml"), expected);
        assert_eq!(read("", "yaml").unwrap(), Settings::default());
    }

    #[test]
    fn an_error_names_the_file_the_key_and_what_is_possible() {
        for (text, kind, words) in [
            ("drain-seconds = 5", "toml", "there is no drain-seconds (is drainSeconds meant?)"),
            ("colour = 1", "toml", "there are: "),
            ("podUid = \"x\"", "toml", "there is no podUid"),
            ("instances = [1]", "toml", "instances: give one value"),
            ("shutdownMessage = \"yes\"", "toml", "give true or false"),
            ("command = \"node a.js\"", "toml", "give a list of words"),
            ("command = []", "toml", "give a list of words"),
            ("instances = ", "toml", "primary.toml"),
            ("[1]", "json", "keys and values"),
            ("", "ini", "name it .toml"),
        ] {
            let message = read(text, kind).unwrap_err().to_string();
            assert!(message.contains(words), "{text} gave: {message}");
        }
    }

    #[test]
    fn the_file_is_named_before_the_command() {
        let named = |line: &str| named(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(named("primary -i 2 --config a.toml -- x"), Some("a.toml".into()));
        assert_eq!(named("primary --config=a.toml -- x"), Some("a.toml".into()));
        assert_eq!(named("primary -- x --config a.toml"), None);
    }
}
