//! The command line of an app, as PM2 makes it of script, interpreter and arguments: pure.

use serde_json::{Map, Value};

use super::fields::{plain, text};

/// Who runs a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreter {
    /// This program.
    Named(String),
    /// Nobody: it runs itself.
    Itself,
    /// PM2 looks into the file: a binary runs itself, and everything else is Node's.
    ByContent,
}

/// As PM2 chooses: what is told, else by the ending of the script's name.
pub fn interpreter(app: &Map<String, Value>, script: &str) -> Interpreter {
    match text(app, "exec_interpreter").as_deref() {
        Some("none") => Interpreter::Itself,
        // There nvm fetches the version behind the `@`.
        Some(told) if told.starts_with("node@") => Interpreter::Named("node".to_string()),
        Some(told) => Interpreter::Named(told.to_string()),
        None if is_command_line(script) => Interpreter::Itself,
        None => by_ending(script).map_or(Interpreter::ByContent, |name| Interpreter::Named(name.to_string())),
    }
}

/// The program with its interpreter and all arguments.
pub fn command(app: &Map<String, Value>, script: &str) -> Vec<String> {
    if is_command_line(script) {
        // PM2 does not look at interpreter and arguments then.
        return Vec::from(["bash", "-c", script].map(ToString::to_string));
    }
    let mut words = Vec::new();
    if let Interpreter::Named(interpreter) = interpreter(app, script) {
        words.push(interpreter);
        words.extend(arguments(app.get("node_args")));
    }
    words.push(script.to_string());
    words.extend(arguments(app.get("args")));
    words
}

/// `npm run start` in place of a file: PM2 gives it to a shell.
fn is_command_line(script: &str) -> bool {
    script.contains(' ')
}

/// PM2's table of interpreters, and the endings of Node's two kinds of modules, which it looks into.
fn by_ending(script: &str) -> Option<&'static str> {
    let (_, ending) = script.rsplit('/').next()?.rsplit_once('.')?;
    Some(match ending {
        "js" | "cjs" | "mjs" => "node",
        "ts" | "tsx" => "bun",
        "py" => "python3",
        "sh" => "bash",
        "php" => "php",
        "rb" => "ruby",
        "pl" => "perl",
        "coffee" => "coffee",
        "ls" => "lsc",
        _ => return None,
    })
}

fn arguments(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(words)) => words.iter().map(plain).collect(),
        _ => Vec::new(),
    }
}

/// A text of arguments, cut as PM2 does: at blanks that are not in quotes. Quotes around a whole argument go, those behind a `=` stay.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(end_of_word(rest));
        let word = without_quotes(word);
        if !word.trim().is_empty() {
            words.push(word.to_string());
        }
        rest = behind.trim_start();
    }
    words
}

/// Where the first word of `rest` ends; `rest` begins with no blank.
fn end_of_word(rest: &str) -> usize {
    let blank = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let stop = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | '=');
    let name = rest.find(stop).unwrap_or(rest.len());
    let opens = match rest.as_bytes().get(name..).unwrap_or_default() {
        [b'"' | b'\'', ..] if name == 0 => 0,
        [b'=', b'"' | b'\'', ..] if name > 0 => name + 1,
        _ => return blank,
    };
    let (quote, inside) = rest.get(opens..).unwrap_or_default().split_at(1);
    inside.find(quote).map_or(blank, |length| opens + length + 2)
}

fn without_quotes(word: &str) -> &str {
    let within = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::import::fields::by_own_name;

    /// Its words with `|` between them.
    fn words(app: &Value) -> String {
        let app = by_own_name(app.as_object().unwrap());
        command(&app, &text(&app, "script").unwrap()).join("|")
    }

    #[test]
    fn interpreters_are_those_that_pm2_takes() {
        for (app, expected) in [
            (json!({"script": "a.py"}), "python3|a.py"),
            (json!({"script": "b/a.tsx"}), "bun|b/a.tsx"),
            (json!({"script": "a.js", "interpreter": "bun"}), "bun|a.js"),
            (json!({"script": "a.js", "interpreter": "node@20.1.0"}), "node|a.js"),
            (json!({"script": "/usr/bin/server", "args": ["-a", "b c"]}), "/usr/bin/server|-a|b c"),
            (json!({"script": "npm", "args": "start", "interpreter": "none"}), "npm|start"),
            (json!({"exec": "a.js", "interpreterArgs": "--inspect"}), "node|--inspect|a.js"),
            (json!({"cmd": "npm run start", "args": "-x"}), "bash|-c|npm run start"),
        ] {
            assert_eq!(words(&app), expected, "{app}");
        }
    }

    #[test]
    fn a_text_of_arguments_is_cut_as_pm2_does() {
        for (text, expected) in [
            ("-a 13  -b 12 ", "-a|13|-b|12"),
            ("--title \"a b\" 'c d'", "--title|a b|c d"),
            ("--title=\"a b\" -x='c d'", "--title=\"a b\"|-x='c d'"),
            ("it's 5\" \"\" é=", "it's|5\"|é="),
            ("\"open", "\"open"),
            ("  ", ""),
        ] {
            assert_eq!(split(text).join("|"), expected, "{text}");
        }
    }
}
