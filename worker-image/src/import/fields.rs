//! Every attribute of an app that PM2 knows, and what becomes of it here. The names are those of `lib/API/schema.json` of PM2 7.0, which its
//! documentation lists in part, and their other spellings.

use serde_json::{Map, Value};

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is translated, in `app` and `program`.
    Translated,
    /// Nothing is to be done: what it asks for is so anyway, or has no meaning outside of PM2.
    AsEver,
    /// The same where it is true. Where it is false it has no equivalent; what to do instead.
    Always(&'static str),
    /// It has no equivalent; what to do instead.
    Without(&'static str),
}

use Fate::{Always, AsEver, Translated, Without};

const WATCHES: &str =
    "is a development server's work: `node --watch` does it, and `primary ctl reload` has all workers begin anew";

const LINES: &str = "workers' lines stay as they are; journald and kubectl logs know the time";

const MONITORS: &str =
    "is PM2's own monitoring: figures are at /metrics of --admin, the program's own with --worker-metrics prom-client";

/// All of them, by PM2's own name.
pub const FATES: &[(&str, Fate)] = &[
    ("name", Translated),
    ("script", Translated),
    ("args", Translated),
    ("exec_interpreter", Translated),
    ("node_args", Translated),
    ("instances", Translated),
    ("cwd", Translated),
    ("env", Translated),
    ("port", Translated),
    ("append_env_to_name", Translated),
    ("max_memory_restart", Translated),
    ("exp_backoff_restart_delay", Translated),
    ("kill_timeout", Translated),
    ("wait_ready", Translated),
    ("shutdown_with_message", Translated),
    ("exec_mode", AsEver),
    ("execute_command", AsEver),
    ("force", AsEver), // several primaries may run one program
    ("merge_logs", AsEver),
    ("vizion", AsEver),
    ("disable_source_map_support", AsEver),
    ("disable_trace", AsEver),
    ("kill_retry_time", AsEver), // the kernel says when a worker has ended
    ("username", AsEver),        // PM2 writes it itself
    ("write", AsEver),
    ("windows_hide", AsEver),
    ("autorestart", Always("has no equivalent: workers that end are replaced")),
    ("autostart", Always("has no equivalent: workers run from the primary's start on; start it when they are wanted")),
    (
        "treekill",
        Always(
            "has no equivalent: what a worker leaves in its process group is killed after it; spawn with `detached` what is to live on",
        ),
    ),
    ("watch", Without(WATCHES)),
    ("watch_delay", Without(WATCHES)),
    ("watch_options", Without(WATCHES)),
    ("ignore_watch", Without(WATCHES)),
    (
        "cron_restart",
        Without(
            "has no equivalent; recycleAgeSeconds replaces workers by age, not all at once, and cron or a timer can run `primary ctl reload`",
        ),
    ),
    ("max_restarts", Without("has no equivalent: it never gives up, and tells of a crash loop")),
    ("min_uptime", Without("has no equivalent: a worker that was ready for 1 s is replaced at once")),
    (
        "restart_delay",
        Without(
            "has no equivalent: only a worker that ends before it was ready waits, from restartInitialMilliseconds on",
        ),
    ),
    (
        "stop_exit_codes",
        Without(
            "has no equivalent: a worker that ends is replaced, whatever its exit code; let systemd (RestartPreventExitStatus=) or a Job run what is to end for good",
        ),
    ),
    (
        "listen_timeout",
        Without(
            "has no equivalent: a fresh worker has 30 s to get ready, or ten times startupSeconds; where it does not, the old one stays",
        ),
    ),
    ("out_file", Without("workers write to the primary's output: > FILE, or what looks after the service")),
    ("error_file", Without("workers write to the primary's errors: 2> FILE, or what looks after the service")),
    ("log_file", Without("workers write to the primary's output: > FILE, or what looks after the service")),
    ("disable_logs", Without("workers write to the primary's output: > /dev/null where nobody wants it")),
    ("log_type", Without("workers' lines stay as they are: let the program write JSON")),
    ("log_date_format", Without(LINES)),
    ("time", Without(LINES)),
    ("pid_file", Without("is not written: `primary ctl status --json` says primaryPid")),
    (
        "instance_var",
        Without("workers of Node have NODE_UNIQUE_ID, and cluster.worker.id, from 1, and no NODE_APP_INSTANCE"),
    ),
    ("increment_var", Without("has no equivalent; reckon it in the program from cluster.worker.id")),
    ("uid", Without("is chosen by whoever starts the primary: User= of a systemd unit, or runAsUser")),
    ("gid", Without("is chosen by whoever starts the primary: Group= of a systemd unit, or runAsGroup")),
    (
        "filter_env",
        Without(
            "has no equivalent: workers get the variables that the primary was started with; `env -u NAME` before it takes one away, `env -i` all",
        ),
    ),
    ("namespace", Without("has no equivalent; --name names the primary")),
    ("name_prefix", Without("has no equivalent; write it into the name")),
    ("source_map_support", Without("add --enable-source-maps to node in command")),
    ("post_update", Without("has no equivalent: run these commands where the program is built or deployed")),
    ("install_url", Without("has no equivalent: it is for modules of PM2")),
    ("pmx", Without(MONITORS)),
    ("automation", Without(MONITORS)),
    ("trace", Without(MONITORS)),
    ("v8", Without(MONITORS)),
    ("event_loop_inspector", Without(MONITORS)),
    ("deep_monitoring", Without(MONITORS)),
    ("io", Without(MONITORS)),
];

/// Other names that PM2 takes, and its own. Beside them it takes each of its own in camelCase.
const ALIASES: [(&str, &str); 18] = [
    ("exec", "script"),
    ("cmd", "script"),
    ("command", "script"),
    ("interpreter", "exec_interpreter"),
    ("interpreter_args", "node_args"),
    ("interpreterArgs", "node_args"),
    ("out", "out_file"),
    ("output", "out_file"),
    ("out_log", "out_file"),
    ("error", "error_file"),
    ("err", "error_file"),
    ("err_file", "error_file"),
    ("err_log", "error_file"),
    ("log", "log_file"),
    ("pid", "pid_file"),
    ("cron", "cron_restart"),
    ("combine_logs", "merge_logs"),
    ("user", "uid"),
];

/// What becomes of an attribute, by any of its names. `None` for one that PM2 does not know either.
pub fn fate(given: &str) -> Option<Fate> {
    let own = own_name(given);
    FATES.iter().find(|(name, _)| *name == own).map(|(_, fate)| *fate)
}

/// The attributes by PM2's own names. What is `null` is not given; where one is given by two names, its own counts, as there.
pub fn by_own_name(app: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (given, value) in app.iter().filter(|(_, value)| !value.is_null()) {
        let own = own_name(given);
        if own == given || !fields.contains_key(own) {
            fields.insert(own.to_string(), value.clone());
        }
    }
    fields
}

fn own_name(given: &str) -> &str {
    if let Some((_, own)) = ALIASES.iter().find(|(alias, _)| *alias == given) {
        return own;
    }
    let snake = snake(given);
    FATES.iter().map(|(name, _)| *name).find(|name| *name == snake).unwrap_or(given)
}

/// `killTimeout` as `kill_timeout`.
fn snake(given: &str) -> String {
    let mut name = String::with_capacity(given.len());
    for letter in given.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// A text that is there.
pub fn text(app: &Map<String, Value>, field: &str) -> Option<String> {
    app.get(field)?.as_str().filter(|text| !text.is_empty()).map(ToString::to_string)
}

/// A value as a word.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The keys of PM2 7.0's `lib/API/schema.json`, but for the pattern `^env_\S*$`.
    const SCHEMA: &str = "script name name_prefix filter_env namespace install_url cwd args exec_interpreter node_args out_file error_file log_file \
        disable_logs log_type log_date_format time env max_memory_restart pid_file restart_delay exp_backoff_restart_delay source_map_support \
        disable_source_map_support wait_ready instances kill_timeout shutdown_with_message listen_timeout cron_restart merge_logs vizion autostart \
        autorestart stop_exit_codes watch_delay watch ignore_watch watch_options min_uptime max_restarts execute_command exec_mode force \
        append_env_to_name post_update trace disable_trace v8 event_loop_inspector deep_monitoring increment_var instance_var pmx automation treekill \
        port username uid gid windowsHide kill_retry_time write io";

    /// The names in the table of its documentation.
    const DOCUMENTED: &str = "name script cwd args interpreter interpreter_args node_args instances exec_mode watch ignore_watch max_memory_restart env \
        appendEnvToName source_map_support instance_var filter_env log_date_format error_file out_file combine_logs merge_logs pid_file min_uptime \
        listen_timeout kill_timeout shutdown_with_message wait_ready max_restarts restart_delay autorestart cron_restart vizion post_update force";

    #[test]
    fn every_attribute_that_pm2_knows_is_known_here_once() {
        for name in SCHEMA.split_whitespace().chain(DOCUMENTED.split_whitespace()) {
            assert!(fate(name).is_some(), "{name}");
        }
        assert_eq!(SCHEMA.split_whitespace().count(), FATES.len());
        for (index, (name, _)) in FATES.iter().enumerate() {
            assert_eq!(FATES.iter().position(|(other, _)| other == name), Some(index), "{name}");
        }
    }

    #[test]
    fn other_spellings_are_the_same_attribute() {
        for (given, own) in [
            ("killTimeout", "kill_timeout"),
            ("windowsHide", "windows_hide"),
            ("interpreter", "exec_interpreter"),
            ("interpreterArgs", "node_args"),
            ("err", "error_file"),
            ("user", "uid"),
            ("cron", "cron_restart"),
            ("env_myStage", "env_myStage"),
            ("envProduction", "envProduction"),
            ("invented", "invented"),
        ] {
            assert_eq!(own_name(given), own);
        }
        for (_, own) in ALIASES {
            assert!(fate(own).is_some(), "{own}");
        }
    }

    #[test]
    fn of_two_spellings_its_own_counts_and_null_is_nothing() {
        let app = json!({"exec": "a.js", "script": "b.js", "user": "web", "uid": null});
        let expected = json!({"script": "b.js", "uid": "web"});
        assert_eq!(Value::Object(by_own_name(app.as_object().unwrap())), expected);
    }
}
