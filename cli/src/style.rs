//! Colours, on a terminal only.

use std::io::IsTerminal;

/// What a piece of text says beside its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

/// How text is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether there are colours.
    pub colour: bool,
    /// Whether the screen can be cleared.
    pub terminal: bool,
}

// === impl Style ===

impl Style {
    /// Colours where standard output is a terminal and nobody is against them (<https://no-color.org>).
    pub fn detect(no_color: bool) -> Self {
        let unwanted = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = !dumb && std::io::stdout().is_terminal();
        Self { colour: terminal && !unwanted, terminal }
    }

    /// `text` in the colour of `tone`.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Bold => "1",
            Tone::Plain => return text.into(),
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// `text` without what could steer the terminal: names, messages and images are written by others.
pub fn harmless(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_the_text_stays_as_it_is() {
        assert_eq!(Style { colour: false, terminal: false }.paint(Tone::Bad, "x"), "x");
        assert_eq!(Style { colour: true, terminal: true }.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Style { colour: true, terminal: true }.paint(Tone::Bad, ""), "");
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\nc"), "a [2Jb c");
    }
}
