//! One app of an ecosystem file, translated: pure. PM2's names are those of its "Ecosystem file" reference; each is translated, or named as
//! having no equivalent with what to do instead.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

/// An app as a file for `--config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A name that a file can have.
    pub name: String,
    /// TOML.
    pub text: String,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Variables that the program was given; they are set by whoever starts the primary.
    env: BTreeMap<String, String>,
    /// The folder that it ran in.
    folder: Option<String>,
}

/// Fields that change nothing here, as what they ask for is so anyway.
const AS_EVER: [&str; 8] = [
    "exec_mode",
    "autorestart",
    "exp_backoff_restart_delay",
    "merge_logs",
    "combine_logs",
    "vizion",
    "pmx",
    "treekill",
];

/// Fields without an equivalent, and what to do instead.
const WITHOUT: [(&str, &str); 17] = [
    ("watch", "is a development server's work"),
    ("ignore_watch", "is a development server's work"),
    ("cron_restart", "has no equivalent; recycleAgeSeconds replaces workers by age, not all at once"),
    ("max_restarts", "has no equivalent: it never gives up, and tells of a crash loop"),
    ("min_uptime", "has no equivalent: a worker that was ready for 1 s is replaced at once"),
    (
        "restart_delay",
        "has no equivalent: only a worker that ends before it was ready waits, from restartInitialMilliseconds on",
    ),
    ("listen_timeout", "has no equivalent: a reload waits for the fresh worker, and stops where it ends"),
    ("out_file", "workers write to the primary's output: > FILE, or what looks after the service"),
    ("error_file", "workers write to the primary's errors: 2> FILE, or what looks after the service"),
    ("log_file", "workers write to the primary's output: > FILE, or what looks after the service"),
    ("log_date_format", "workers' lines stay as they are; journald and kubectl logs know the time"),
    ("pid_file", "is not written: `primary ctl status --json` says primaryPid"),
    ("instance_var", "workers have NODE_UNIQUE_ID, and cluster.worker.id, from 1"),
    ("increment_var", "has no equivalent; reckon it in the program from cluster.worker.id"),
    ("uid", "is chosen by whoever starts the primary: User= of a systemd unit, or runAsUser"),
    ("namespace", "has no equivalent; --name names the primary"),
    ("source_map_support", "add --enable-source-maps to node in command"),
];

/// Fields that are translated below.
const TRANSLATED: [&str; 21] = [
    "name",
    "script",
    "args",
    "interpreter",
    "exec_interpreter",
    "interpreter_args",
    "node_args",
    "interpreterArgs",
    "instances",
    "cwd",
    "env",
    "max_memory_restart",
    "kill_timeout",
    "wait_ready",
    "shutdown_with_message",
    "force",
    "filter_env",
    "append_env_to_name",
    "user",
    "stop_exit_codes",
    "time",
];

/// The apps of a document: `{apps: […]}`, a list, or one app.
///
/// # Errors
/// In words, where it has none, or one without a script.
pub fn apps(document: &Value, env: Option<&str>) -> Result<Vec<Imported>, String> {
    let list = match document {
        Value::Object(fields) if fields.contains_key("apps") => fields.get("apps").cloned().unwrap_or_default(),
        Value::Object(_) => Value::Array(vec![document.clone()]),
        other => other.clone(),
    };
    let list = match list {
        Value::Array(list) if !list.is_empty() => list,
        Value::Object(_) => vec![list],
        _ => return Err("it has no apps".to_string()),
    };
    let mut imported: Vec<Imported> = Vec::new();
    for (index, app) in list.iter().enumerate() {
        let Value::Object(app) = app else { return Err(format!("apps[{index}] is no object")) };
        let mut one = translate(app, env).map_err(|why| format!("apps[{index}]: {why}"))?;
        // Two files of one name would be one.
        while imported.iter().any(|other| other.name == one.name) {
            one.name = format!("{}-{index}", one.name);
        }
        imported.push(one);
    }
    Ok(imported)
}

fn translate(app: &Map<String, Value>, env: Option<&str>) -> Result<Imported, String> {
    let script = text(app, "script").ok_or("it has no script")?;
    let name = file_name(text(app, "name").as_deref().unwrap_or_else(|| stem(&script)));
    let mut notes = Vec::new();
    let mut lines = vec![("name", quoted(&name))];
    lines.push(("instances", instances(app)));
    lines.push(("command", list(&command(app, &script))));
    if let Some(limit) = app.get("max_memory_restart") {
        match memory(limit) {
            Some(bytes) => lines.push(("recycleMemory", quoted(&bytes))),
            None => notes.push(format!("max_memory_restart: {limit} is no size")),
        }
    }
    if let Some(milliseconds) = app.get("kill_timeout").and_then(Value::as_u64) {
        lines.push(("drainSeconds", milliseconds.div_ceil(1000).to_string()));
    }
    if app.get("wait_ready") == Some(&Value::Bool(true)) {
        lines.push(("ready", quoted("notify")));
    }
    if app.get("shutdown_with_message") == Some(&Value::Bool(true)) {
        lines.push(("shutdownMessage", "true".to_string()));
    }
    for (field, value) in app {
        let off = matches!(value, Value::Bool(false) | Value::Null);
        let known =
            TRANSLATED.contains(&field.as_str()) || AS_EVER.contains(&field.as_str()) || field.starts_with("env_");
        match WITHOUT.iter().find(|(name, _)| name == field) {
            _ if off && field == "autorestart" => {
                notes.push("autorestart: false has no equivalent: workers that end are replaced".to_string());
            }
            Some(_) if off => {}
            Some((_, instead)) => notes.push(format!("{field} {instead}")),
            None if known || off => {}
            None => notes.push(format!("{field} is not known here, and left out")),
        }
    }
    if app.get("exec_mode").and_then(Value::as_str).is_none_or(|mode| mode.starts_with("fork")) && instances(app) != "1"
    {
        notes.push("exec_mode is fork with several instances: here they share the port, where it is given with --listen or asked for by Node".to_string());
    }
    let env = variables(app, env, &mut notes);
    let folder = text(app, "cwd");
    let mut text = String::new();
    for (key, value) in lines {
        let _ = writeln!(text, "{key} = {value}");
    }
    Ok(Imported { name, text, notes, env, folder })
}

impl Imported {
    /// The command line that starts it.
    pub fn start(&self) -> String {
        let mut words = Vec::new();
        if let Some(folder) = &self.folder {
            words.push(format!("cd {} &&", shell(folder)));
        }
        words.extend(self.env.iter().map(|(name, value)| format!("{name}={}", shell(value))));
        words.push(format!("primary --config {}", shell(&format!("{}.toml", self.name))));
        words.join(" ")
    }
}

/// The program with its interpreter, as PM2 starts it: by the ending of the script's name, unless it is told.
fn command(app: &Map<String, Value>, script: &str) -> Vec<String> {
    let told = text(app, "interpreter").or_else(|| text(app, "exec_interpreter"));
    let interpreter = match told.as_deref() {
        Some("none") => None,
        Some(told) => Some(told.to_string()),
        None => by_ending(script).map(ToString::to_string),
    };
    let mut words: Vec<String> = interpreter.into_iter().collect();
    if !words.is_empty() {
        for field in ["interpreter_args", "interpreterArgs", "node_args"] {
            words.extend(arguments(app.get(field)));
        }
    }
    words.push(script.to_string());
    words.extend(arguments(app.get("args")));
    words
}

/// PM2's table of interpreters.
fn by_ending(script: &str) -> Option<&'static str> {
    let (_, ending) = script.rsplit('/').next()?.rsplit_once('.')?;
    Some(match ending {
        "js" | "cjs" | "mjs" => "node",
        "ts" => "bun",
        "py" => "python3",
        "sh" => "bash",
        "php" => "php",
        "rb" => "ruby",
        "pl" => "perl",
        _ => return None,
    })
}

fn arguments(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => text.split_whitespace().map(ToString::to_string).collect(),
        Some(Value::Array(words)) => words.iter().map(plain).collect(),
        _ => Vec::new(),
    }
}

/// `max`, 0 and numbers below it are all processors, less so many; here `max` follows the container's limit.
fn instances(app: &Map<String, Value>) -> String {
    match app.get("instances") {
        None | Some(Value::Null) => "1".to_string(),
        Some(Value::Number(number)) => {
            number.as_u64().filter(|number| *number > 0).map_or_else(|| quoted("max"), |number| number.to_string())
        }
        Some(Value::String(text)) => match text.parse::<u64>() {
            Ok(number) if number > 0 => number.to_string(),
            _ => quoted("max"),
        },
        Some(_) => quoted("max"),
    }
}

/// `300M`, `1G`, `512K`, or bytes.
fn memory(limit: &Value) -> Option<String> {
    match limit {
        Value::Number(bytes) => bytes.as_u64().map(|bytes| bytes.to_string()),
        Value::String(text) => crate::config::values::bytes(text).ok().map(|_| text.clone()),
        _ => None,
    }
}

fn variables(app: &Map<String, Value>, env: Option<&str>, notes: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let over = env.map(|env| format!("env_{env}"));
    if let Some(over) = over.as_ref().filter(|over| !app.contains_key(*over)) {
        notes.push(format!("there is no {over}"));
    }
    for part in std::iter::once("env").chain(over.as_deref()) {
        if let Some(Value::Object(part)) = app.get(part) {
            variables.extend(part.iter().map(|(name, value)| (name.clone(), plain(value))));
        }
    }
    if env.is_none() {
        let others: Vec<&str> = app.keys().map(String::as_str).filter(|name| name.starts_with("env_")).collect();
        if !others.is_empty() {
            notes.push(format!("{} left out: choose one with --env", others.join(", ")));
        }
    }
    variables
}

fn text(app: &Map<String, Value>, field: &str) -> Option<String> {
    app.get(field)?.as_str().filter(|text| !text.is_empty()).map(ToString::to_string)
}

/// A value as a word.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToString::to_string)
}

fn stem(script: &str) -> &str {
    let file = script.rsplit('/').next().unwrap_or(script);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// Only what is harmless in the name of a file.
fn file_name(name: &str) -> String {
    let harmless = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
    let name: String = name.chars().take(64).map(harmless).collect();
    let name = name.trim_start_matches('.').to_string();
    if name.is_empty() { "app".to_string() } else { name }
}

/// A text as TOML writes it; what JSON escapes, TOML reads alike.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+,=".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(app: &Value) -> Imported {
        apps(&json!({"apps": [app]}), Some("production")).unwrap().remove(0)
    }

    #[test]
    fn an_app_of_the_usual_kind_is_translated_whole() {
        let app = one(&json!({
            "name": "api server", "script": "./dist/app.js", "args": "--port 3000", "node_args": ["--max-old-space-size=300"],
            "instances": "max", "exec_mode": "cluster", "cwd": "/srv/my app", "max_memory_restart": "300M", "kill_timeout": 4500,
            "wait_ready": true, "shutdown_with_message": true, "autorestart": true, "watch": false,
            "env": {"NODE_ENV": "development", "PORT": 3000}, "env_production": {"NODE_ENV": "production"}
        }));
        assert_eq!(app.notes, Vec::<String>::new());
        let expected = "name = \"api-server\"\ninstances = \"max\"\ncommand = [\"node\", \"--max-old-space-size=300\", \"./dist/app.js\", \"--port\", \"3000\"]\n\
                        recycleMemory = \"300M\"\ndrainSeconds = 5\nready = \"notify\"\nshutdownMessage = true\n";
        assert_eq!(app.text, expected);
        assert_eq!(app.start(), "cd '/srv/my app' && NODE_ENV=production PORT=3000 primary --config api-server.toml");
    }

    #[test]
    fn what_was_made_is_a_file_that_the_primary_reads() {
        let app = one(&json!({"name": "a\"b\\c", "script": "we\"ird\\.js", "instances": 2, "exec_mode": "cluster"}));
        let read: Value = toml::from_str(&app.text).unwrap();
        assert_eq!(read, json!({"name": "a-b-c", "instances": 2, "command": ["node", "we\"ird\\.js"]}));
    }

    #[test]
    fn interpreters_are_those_that_pm2_takes() {
        for (app, expected) in [
            (json!({"script": "a.py"}), "[\"python3\", \"a.py\"]"),
            (json!({"script": "a.js", "interpreter": "bun"}), "[\"bun\", \"a.js\"]"),
            (json!({"script": "/usr/bin/server", "args": ["-a", "b c"]}), "[\"/usr/bin/server\", \"-a\", \"b c\"]"),
            (json!({"script": "npm", "args": "start", "interpreter": "none"}), "[\"npm\", \"start\"]"),
        ] {
            let text = one(&app).text;
            assert!(text.contains(&format!("command = {expected}\n")), "{expected}: {text}");
        }
    }

    #[test]
    fn what_has_no_equivalent_is_told_with_what_to_do() {
        let app = one(&json!({
            "script": "a.js", "cron_restart": "0 0 * * *", "watch": ["src"], "max_restarts": 10, "out_file": "/x", "autorestart": false,
            "invented": 1, "max_memory_restart": "much", "instances": 4
        }));
        for words in [
            "recycleAgeSeconds",
            "development server",
            "never gives up",
            "> FILE",
            "autorestart: false",
            "invented is not known",
            "is no size",
            "exec_mode is fork",
            "no env_production",
        ] {
            assert!(app.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", app.notes);
        }
    }

    #[test]
    fn numbers_of_instances_are_read_as_pm2_writes_them() {
        for (given, expected) in [
            (json!(4), "4"),
            (json!("4"), "4"),
            (json!(0), "\"max\""),
            (json!(-1), "\"max\""),
            (json!("max"), "\"max\""),
            (json!(null), "1"),
        ] {
            let app = json!({"instances": given});
            assert_eq!(instances(app.as_object().unwrap()), expected, "{app}");
        }
    }

    #[test]
    fn a_document_without_apps_is_refused_and_two_of_one_name_have_two_files() {
        for document in [json!(null), json!([]), json!({"apps": []}), json!({"apps": [1]}), json!({"name": "x"})] {
            assert!(apps(&document, None).is_err(), "{document}");
        }
        let twice = apps(&json!([{"script": "a.js"}, {"script": "b/a.js"}]), None).unwrap();
        assert_eq!([&*twice[0].name, &*twice[1].name], ["a", "a-1"]);
    }
}
