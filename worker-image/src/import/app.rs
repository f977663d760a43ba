//! The apps of an ecosystem file, translated: pure. PM2's names are those of its "Ecosystem file" reference; `fields` has them all, and says which
//! are translated here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value};

use super::fields::{self, Fate, plain, text};
use super::program::{self, Interpreter};
use crate::config::values;

/// A document, translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// At least one.
    pub apps: Vec<Imported>,
    /// What the user should know of the rest.
    pub notes: Vec<String>,
}

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

/// What an ecosystem file has beside its apps, and what to do instead.
const BESIDE: [(&str, &str); 2] = [
    (
        "deploy",
        "has no equivalent, nor has its env: bring the program to its servers by an image, or as you bring other files",
    ),
    ("static", "has no equivalent: let a server of files, as nginx, serve them"),
];

/// PM2 waits no longer after a worker that ended, but for the first time; nor does a file of ours without restartMaxSeconds.
const LONGEST_BACK_OFF: u64 = 15_000;

/// The apps of a document: `{apps: […]}`, the same in a `package.json` as `pm2`, a list, or one app.
///
/// # Errors
/// In words, where it has none, or one without a script.
pub fn translated(document: &Value, env: Option<&str>) -> Result<Translated, String> {
    let mut notes = Vec::new();
    let list = match document {
        Value::Object(fields) => {
            let mut fields = fields.clone();
            for (field, instead) in BESIDE {
                if fields.remove(field).is_some_and(|value| !is_off(&value)) {
                    notes.push(format!("{field} {instead}"));
                }
            }
            let apps = fields.remove("apps").or_else(|| fields.remove("pm2"));
            apps.unwrap_or(Value::Object(fields))
        }
        other => other.clone(),
    };
    let list = match list {
        Value::Array(list) if !list.is_empty() => list,
        Value::Object(_) => vec![list],
        _ => return Err("it has no apps".to_string()),
    };
    let mut apps: Vec<Imported> = Vec::new();
    for (index, app) in list.iter().enumerate() {
        let Value::Object(app) = app else { return Err(format!("apps[{index}] is no object")) };
        let mut one = translate(app, env).map_err(|why| format!("apps[{index}]: {why}"))?;
        // Two files of one name would be one.
        while apps.iter().any(|other| other.name == one.name) {
            one.name = format!("{}-{index}", one.name);
        }
        apps.push(one);
    }
    Ok(Translated { apps, notes })
}

fn translate(given: &Map<String, Value>, env: Option<&str>) -> Result<Imported, String> {
    let app = fields::by_own_name(given);
    let script = text(&app, "script").ok_or("it has no script")?;
    let name = name(&app, &script, env);
    let mut notes = Vec::new();
    let mut lines = vec![
        ("name", quoted(&name)),
        ("instances", instances(&app)),
        ("command", list(&program::command(&app, &script))),
    ];
    settings(&app, &mut lines, &mut notes);
    tell(given, &mut notes);
    tell_of_program(&app, &script, &mut notes);
    let env = variables(&app, env, &mut notes);
    let folder = text(&app, "cwd");
    let mut text = String::new();
    for (key, value) in lines {
        let _ = writeln!(text, "{key} = {value}");
    }
    Ok(Imported { name, text, notes, env, folder })
}

/// The app's own name, or the script's, with that of the part that is laid over `env` where it asks for that.
fn name(app: &Map<String, Value>, script: &str, env: Option<&str>) -> String {
    let name = text(app, "name").unwrap_or_else(|| stem(script).to_string());
    let appends = app.get("append_env_to_name") == Some(&Value::Bool(true));
    match env.filter(|_| appends) {
        Some(env) => file_name(&format!("{name}-{env}")),
        None => file_name(&name),
    }
}

/// What an attribute's value is as a setting, which is nothing where it asks for nothing; or what is wrong with it.
type Setting = Result<Option<String>, &'static str>;

/// The settings that attributes stand for. What none can be made of is told.
fn settings(app: &Map<String, Value>, lines: &mut Vec<(&'static str, String)>, notes: &mut Vec<String>) {
    let mut set = |attribute: &str, key: &'static str, read: fn(&Value) -> Setting| {
        let Some(value) = app.get(attribute).filter(|value| !is_off(value)) else { return };
        match read(value) {
            Ok(text) => lines.extend(text.map(|text| (key, text))),
            Err(why) => notes.push(format!("{attribute}: {value} {why}, and is left out")),
        }
    };
    set("max_memory_restart", "recycleMemory", memory);
    set("exp_backoff_restart_delay", "restartInitialMilliseconds", back_off);
    set("kill_timeout", "drainSeconds", drain);
    set("wait_ready", "ready", |value| switch(value, "\"notify\""));
    set("shutdown_with_message", "shutdownMessage", |value| switch(value, "true"));
}

/// Names each attribute that is not translated.
fn tell(given: &Map<String, Value>, notes: &mut Vec<String>) {
    for (field, value) in given {
        match fields::fate(field) {
            Some(Fate::Without(instead)) if !is_off(value) => notes.push(format!("{field} {instead}")),
            Some(Fate::Always(instead)) if *value == Value::Bool(false) => {
                notes.push(format!("{field}: false {instead}"));
            }
            None if !field.starts_with("env_") => notes.push(format!("{field} is not known here, and left out")),
            _ => {}
        }
    }
}

/// Where the program runs in another way than there.
fn tell_of_program(app: &Map<String, Value>, script: &str, notes: &mut Vec<String>) {
    let interpreter = program::interpreter(app, script);
    if script == "serve" {
        notes.push("script: serve is PM2's own server of files, which is not here; take another".to_string());
    } else if interpreter == Interpreter::ByContent {
        notes.push(format!(
            "script: {script} is run as it is; PM2 has Node run it unless it is a binary: put node before it in command, where it needs that"
        ));
    }
    if text(app, "exec_interpreter").is_some_and(|told| told.starts_with("node@")) {
        notes.push(
            "interpreter: PM2 has nvm fetch that version; here put the path of its node into command".to_string(),
        );
    }
    if number(app, "instances").is_some_and(|number| number < 0) {
        notes.push(
            "instances: below 0 it is all processors but so many there; here it is max, which follows the container's limit"
                .to_string(),
        );
    }
    if is_fork(app, &interpreter) && instances(app) != "1" {
        notes.push("exec_mode is fork with several instances: here they share the port, where it is given with --listen or asked for by Node".to_string());
    }
}

/// PM2's choice where it is not told is cluster for Node and Bun, wherever instances are given.
fn is_fork(app: &Map<String, Value>, interpreter: &Interpreter) -> bool {
    let told = text(app, "exec_mode");
    match (told, interpreter) {
        _ if app.get("execute_command") == Some(&Value::Bool(true)) => true,
        (Some(told), _) => told.starts_with("fork"),
        (None, Interpreter::Named(name)) => !name.ends_with("node") && !name.ends_with("bun"),
        (None, Interpreter::Itself) => true,
        (None, Interpreter::ByContent) => false,
    }
}

impl Imported {
    /// Its file.
    pub fn file(&self) -> String {
        format!("{}.toml", self.name)
    }

    /// Whether it is started in a folder of its own, so that the name of its file has to hold from there.
    pub fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// The command line that starts it, where its file is there.
    pub fn start(&self, file: &Path) -> String {
        let mut words = Vec::new();
        if let Some(folder) = &self.folder {
            words.push(format!("cd {} &&", shell(folder)));
        }
        words.extend(self.env.iter().map(|(name, value)| format!("{name}={}", shell(value))));
        words.push(format!("primary --config {}", shell(&file.display().to_string())));
        words.join(" ")
    }
}

/// `max`, 0 and numbers below it are all processors, less so many; here `max` follows the container's limit.
fn instances(app: &Map<String, Value>) -> String {
    match app.get("instances") {
        None => "1".to_string(),
        Some(_) => match number(app, "instances") {
            Some(number) if number > 0 => number.to_string(),
            _ => quoted("max"),
        },
    }
}

/// `300M`, `1G`, `512K`, or bytes. PM2's units are powers of 1024, as Kubernetes' `Mi` is; here `M` is a million.
fn memory(limit: &Value) -> Setting {
    let given = plain(limit);
    let number = given.strip_suffix(['K', 'M', 'G']).unwrap_or(&given);
    let size = if number.len() < given.len() { format!("{given}i") } else { given.clone() };
    let is_pm2s = number.bytes().all(|byte| byte.is_ascii_digit());
    match values::bytes(&size) {
        Ok(_) if is_pm2s => Ok(Some(quoted(&size))),
        _ => Err("is no size of at least 1 MiB, as 300M is"),
    }
}

/// Milliseconds; 0 is none.
fn back_off(delay: &Value) -> Setting {
    let delay = whole(delay).ok_or("is no number of milliseconds")?;
    Ok((delay > 0).then(|| delay.min(LONGEST_BACK_OFF).to_string()))
}

/// Milliseconds, here whole seconds; 0 is as if it were not given, there too.
fn drain(timeout: &Value) -> Setting {
    let timeout = whole(timeout).ok_or("is no number of milliseconds")?;
    let seconds = timeout.div_ceil(1000).to_string();
    values::seconds(&seconds).map_err(|_| "is more than a day")?;
    Ok((timeout > 0).then_some(seconds))
}

fn switch(value: &Value, on: &str) -> Setting {
    if *value == Value::Bool(true) { Ok(Some(on.to_string())) } else { Err("is neither true nor false") }
}

/// A number, also one in quotes, as PM2 takes it.
fn whole(value: &Value) -> Option<u64> {
    plain(value).parse().ok()
}

fn number(app: &Map<String, Value>, field: &str) -> Option<i64> {
    plain(app.get(field)?).parse().ok()
}

fn is_off(value: &Value) -> bool {
    matches!(value, Value::Bool(false) | Value::Null)
}

fn variables(app: &Map<String, Value>, env: Option<&str>, notes: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let over = env.map(|env| format!("env_{env}"));
    lay_over(&mut variables, app, "env", notes);
    // Above env and below what is chosen, as there.
    if let Some(port) = number(app, "port").filter(|port| *port > 0) {
        variables.insert("PORT".to_string(), port.to_string());
    } else if app.get("port").is_some_and(|port| !is_off(port)) {
        notes.push("port is no number from 1, and left out".to_string());
    }
    match &over {
        Some(over) if app.contains_key(over) => lay_over(&mut variables, app, over, notes),
        Some(over) => notes.push(format!("there is no {over}")),
        None => {
            let others: Vec<&str> = app.keys().map(String::as_str).filter(|name| name.starts_with("env_")).collect();
            if !others.is_empty() {
                notes.push(format!("{} left out: choose one with --env", others.join(", ")));
            }
        }
    }
    variables
}

fn lay_over(variables: &mut BTreeMap<String, String>, app: &Map<String, Value>, part: &str, notes: &mut Vec<String>) {
    match app.get(part) {
        Some(Value::Object(part)) => variables.extend(part.iter().map(|(name, value)| (name.clone(), plain(value)))),
        Some(other) if !is_off(other) => notes.push(format!("{part} is no list of names and values, and left out")),
        _ => {}
    }
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
        translated(&json!({"apps": [app]}), Some("production")).unwrap().apps.remove(0)
    }

    /// The line of the file with this key.
    fn setting(app: &Value, key: &str) -> Option<String> {
        let text = one(app).text;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).map(ToString::to_string)
    }

    fn start(app: &Imported) -> String {
        app.start(Path::new(&app.file()))
    }

    #[test]
    fn an_app_of_the_usual_kind_is_translated_whole() {
        let app = one(&json!({
            "name": "api server", "script": "./dist/app.js", "args": "--port 3000", "node_args": ["--max-old-space-size=300"],
            "instances": "max", "exec_mode": "cluster", "cwd": "/srv/my app", "max_memory_restart": "300M", "kill_timeout": 4500,
            "wait_ready": true, "shutdown_with_message": true, "autorestart": true, "watch": false, "time": false,
            "env": {"NODE_ENV": "development", "PORT": 3000}, "env_production": {"NODE_ENV": "production"}
        }));
        assert_eq!(app.notes, Vec::<String>::new());
        let expected = "name = \"api-server\"\ninstances = \"max\"\ncommand = [\"node\", \"--max-old-space-size=300\", \"./dist/app.js\", \"--port\", \"3000\"]\n\
                        recycleMemory = \"300Mi\"\ndrainSeconds = 5\nready = \"notify\"\nshutdownMessage = true\n";
        assert_eq!(app.text, expected);
        assert_eq!(start(&app), "cd '/srv/my app' && NODE_ENV=production PORT=3000 primary --config api-server.toml");
    }

    #[test]
    fn what_was_made_is_a_file_that_the_primary_reads() {
        let app = one(&json!({"name": "a\"b\\c", "script": "we\"ird\\.js", "instances": 2, "exec_mode": "cluster"}));
        let read: Value = toml::from_str(&app.text).unwrap();
        assert_eq!(read, json!({"name": "a-b-c", "instances": 2, "command": ["node", "we\"ird\\.js"]}));
    }

    #[test]
    fn what_is_listed_as_translated_changes_what_comes_out() {
        let bare = one(&json!({"script": "a.js", "env_production": {}}));
        let cases = [
            ("name", json!("x")),
            ("script", json!("b.js")),
            ("args", json!("-x")),
            ("exec_interpreter", json!("bun")),
            ("node_args", json!("--inspect")),
            ("instances", json!(3)),
            ("cwd", json!("/srv")),
            ("env", json!({"A": "b"})),
            ("port", json!(3000)),
            ("append_env_to_name", json!(true)),
            ("max_memory_restart", json!("300M")),
            ("exp_backoff_restart_delay", json!(200)),
            ("kill_timeout", json!(5000)),
            ("wait_ready", json!(true)),
            ("shutdown_with_message", json!(true)),
        ];
        for (field, value) in &cases {
            let mut app = json!({"script": "a.js", "env_production": {}});
            app[*field] = value.clone();
            let app = one(&app);
            assert_ne!((&app.text, start(&app)), (&bare.text, start(&bare)), "{field}");
            assert_eq!(app.notes, Vec::<String>::new(), "{field}");
        }
        let listed = fields::FATES.iter().filter(|(_, fate)| *fate == Fate::Translated).map(|(name, _)| *name);
        assert_eq!(cases.iter().map(|(field, _)| *field).collect::<Vec<_>>(), listed.collect::<Vec<_>>());
    }

    #[test]
    fn what_has_no_equivalent_is_told_with_what_to_do() {
        let app = one(&json!({
            "script": "a.js", "cron_restart": "0 0 * * *", "watch": ["src"], "max_restarts": 10, "out_file": "/x", "autorestart": false,
            "stop_exit_codes": [0], "user": "web", "gid": 1000, "filter_env": ["REACT_"], "time": true, "err": "/y", "logDateFormat": "YYYY",
            "pmx": true, "treekill": false, "autostart": false, "invented": false, "instances": 4, "exec_mode": "fork"
        }));
        for words in [
            "cron_restart has no equivalent; recycleAgeSeconds",
            "watch is a development server's work",
            "max_restarts has no equivalent: it never gives up",
            "out_file workers write to the primary's output: > FILE",
            "autorestart: false has no equivalent",
            "stop_exit_codes has no equivalent: a worker that ends is replaced",
            "user is chosen by whoever starts the primary: User=",
            "gid is chosen by whoever starts the primary: Group=",
            "filter_env has no equivalent: workers get the variables",
            "time workers' lines stay as they are",
            "err workers write to the primary's errors",
            "logDateFormat workers' lines stay as they are",
            "pmx is PM2's own monitoring",
            "treekill: false has no equivalent",
            "autostart: false has no equivalent",
            "invented is not known here, and left out",
            "exec_mode is fork",
            "there is no env_production",
        ] {
            assert!(app.notes.iter().any(|note| note.starts_with(words)), "{words}: {:?}", app.notes);
        }
    }

    #[test]
    fn every_attribute_is_translated_or_needs_nothing_or_is_named() {
        for (name, fate) in fields::FATES {
            let value = match fate {
                Fate::Translated => continue,
                Fate::Always(_) => json!(false),
                Fate::AsEver | Fate::Without(_) => json!("x"),
            };
            let mut app = json!({"script": "a.js", "env_production": {}});
            app[*name] = value;
            let notes = one(&app).notes;
            let told = notes.iter().any(|note| note.starts_with(name));
            assert_eq!(told, *fate != Fate::AsEver, "{name}: {notes:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_as_in_pm2() {
        for (given, expected) in [
            (json!("300M"), Some("\"300Mi\"")),
            (json!("1G"), Some("\"1Gi\"")),
            (json!("2048K"), Some("\"2048Ki\"")),
            (json!("314572800"), Some("\"314572800\"")),
            (json!(314_572_800), Some("\"314572800\"")),
            (json!("300MB"), None),
            (json!("300Mi"), None),
            (json!("1.5G"), None),
            (json!("much"), None),
            (json!(300), None),
            (json!("M"), None),
        ] {
            let app = json!({"script": "a.js", "max_memory_restart": given});
            assert_eq!(setting(&app, "recycleMemory").as_deref(), expected, "{given}");
            let told = one(&app)
                .notes
                .iter()
                .any(|note| note.starts_with("max_memory_restart") && note.contains("is no size"));
            assert_eq!(told, expected.is_none(), "{given}");
        }
    }

    #[test]
    fn times_are_read_as_pm2_does() {
        for (field, key, given, expected) in [
            ("kill_timeout", "drainSeconds", json!(1600), Some("2")),
            ("killTimeout", "drainSeconds", json!("3000"), Some("3")),
            ("kill_timeout", "drainSeconds", json!(0), None),
            ("kill_timeout", "drainSeconds", json!(90_000_000), None),
            ("exp_backoff_restart_delay", "restartInitialMilliseconds", json!(250), Some("250")),
            ("exp_backoff_restart_delay", "restartInitialMilliseconds", json!(60_000), Some("15000")),
            ("exp_backoff_restart_delay", "restartInitialMilliseconds", json!("soon"), None),
        ] {
            let mut app = json!({"script": "a.js"});
            app[field] = given.clone();
            assert_eq!(setting(&app, key).as_deref(), expected, "{field}: {given}");
        }
        for (field, value) in
            [("kill_timeout", json!("x")), ("kill_timeout", json!(90_000_000)), ("wait_ready", json!("yes"))]
        {
            let mut app = json!({"script": "a.js"});
            app[field] = value;
            assert!(one(&app).notes.iter().any(|note| note.starts_with(field) && note.ends_with("left out")), "{app}");
        }
    }

    #[test]
    fn the_chosen_part_is_laid_over_port_and_port_over_env() {
        let app = |production: &Value| {
            one(&json!({"script": "a.js", "port": 2, "env": {"PORT": 1}, "env_production": production}))
        };
        assert_eq!(start(&app(&json!({}))), "PORT=2 primary --config a.toml");
        assert_eq!(start(&app(&json!({"PORT": 3}))), "PORT=3 primary --config a.toml");
        let notes = app(&json!("X=1")).notes;
        assert!(notes.iter().any(|note| note.starts_with("env_production is no list")), "{notes:?}");
    }

    #[test]
    fn the_environment_is_appended_to_the_name_where_that_is_asked_for() {
        let app = json!({"name": "web", "script": "a.js", "appendEnvToName": true});
        assert_eq!(one(&app).name, "web-production");
        assert_eq!(translated(&app, None).unwrap().apps[0].name, "web");
    }

    #[test]
    fn instances_share_the_port_where_pm2_would_fork_them_and_that_is_told() {
        for (app, told) in [
            (json!({"script": "a.js", "instances": 4}), false),
            (json!({"script": "a.js", "instances": 4, "exec_mode": "fork_mode"}), true),
            (json!({"script": "a.js", "instances": 4, "execute_command": true}), true),
            (json!({"script": "a.py", "instances": 4}), true),
            (json!({"script": "a.py", "instances": 1}), false),
            (json!({"script": "a.py"}), false),
        ] {
            let notes = one(&app).notes;
            assert_eq!(notes.iter().any(|note| note.starts_with("exec_mode is fork")), told, "{app}: {notes:?}");
        }
    }

    #[test]
    fn a_program_that_pm2_starts_in_another_way_is_told() {
        for (app, words) in [
            (json!({"script": "bin/www"}), "script: bin/www is run as it is"),
            (json!({"script": "serve"}), "script: serve is PM2's own server"),
            (json!({"script": "a.js", "interpreter": "node@18.0.0"}), "interpreter: PM2 has nvm"),
            (json!({"script": "a.js", "instances": -1}), "instances: below 0"),
        ] {
            let notes = one(&app).notes;
            assert!(notes.iter().any(|note| note.starts_with(words)), "{words}: {notes:?}");
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
            let app = json!({"script": "a.js", "instances": given});
            assert_eq!(setting(&app, "instances").as_deref(), Some(expected), "{app}");
        }
    }

    #[test]
    fn a_document_without_apps_is_refused_and_two_of_one_name_have_two_files() {
        for document in [json!(null), json!([]), json!({"apps": []}), json!({"apps": [1]}), json!({"name": "x"})] {
            assert!(translated(&document, None).is_err(), "{document}");
        }
        let twice = translated(&json!([{"script": "a.js"}, {"script": "b/a.js"}]), None).unwrap().apps;
        assert_eq!([&*twice[0].name, &*twice[1].name], ["a", "a-1"]);
    }

    #[test]
    fn what_stands_beside_the_apps_is_told() {
        let given =
            json!({"apps": {"script": "a.js"}, "deploy": {"production": {"host": "x"}}, "static": [{"path": "."}]});
        let made = translated(&given, None).unwrap();
        assert_eq!(made.apps.len(), 1);
        assert!(made.notes[0].starts_with("deploy has no equivalent"), "{:?}", made.notes);
        assert!(made.notes[1].starts_with("static has no equivalent"), "{:?}", made.notes);
        let package = translated(&json!({"name": "p", "version": "1.0.0", "pm2": [{"script": "a.js"}]}), None).unwrap();
        assert_eq!((&*package.apps[0].name, package.notes.len()), ("a", 0));
    }
}
