//! `primary import-pm2`: an ecosystem file of PM2, as files for `--config`, and what of it has no equivalent here.

mod app;
mod fields;
mod program;
mod source;

use std::path::{Path, PathBuf};

pub use app::Imported;
pub use source::SourceError;

use crate::say;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The ecosystem file.
    pub file: PathBuf,
    /// The part of it that is laid over `env`, as in `--env production`.
    pub env: Option<String>,
    /// Where the files go; without it they are printed.
    pub folder: Option<PathBuf>,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be used.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
    /// A file cannot be written.
    #[error("{file}: {cause}")]
    Write {
        /// Its path.
        file: String,
        /// The system's words.
        cause: std::io::Error,
    },
}

/// Translates; prints the result, or writes it, and says what else there is to know on standard error.
///
/// # Errors
/// With the file and the next step.
pub fn run(import: &Import) -> Result<(), ImportError> {
    let document = source::read(&import.file)?;
    let translated = app::translated(&document, import.env.as_deref())
        .map_err(|cause| SourceError::Malformed { file: import.file.display().to_string(), cause })?;
    for app in &translated.apps {
        if let Some(folder) = &import.folder {
            write(app, folder)?;
        } else {
            let file = app.file();
            let start = app.start(Path::new(&file)).replace('\n', "\n# ");
            say::print(format!("# {file}: {start}\n{}\n", app.text))?;
        }
        for note in &app.notes {
            say::aside(format_args!("{}: {note}", app.name));
        }
    }
    for note in &translated.notes {
        say::aside(format_args!("{}: {note}", import.file.display()));
    }
    Ok(())
}

fn write(app: &Imported, folder: &Path) -> Result<(), ImportError> {
    let file = folder.join(app.file());
    let failed = |cause| ImportError::Write { file: file.display().to_string(), cause };
    // Nothing of somebody's is written over.
    let mut created = std::fs::File::create_new(&file).map_err(failed)?;
    std::io::Write::write_all(&mut created, app.text.as_bytes()).map_err(failed)?;
    // Whoever starts it has left this folder by then.
    let named = if app.has_folder() { std::path::absolute(&file).map_err(failed)? } else { file.clone() };
    say::print(format!("{}: {}\n", file.display(), app.start(&named)))?;
    Ok(())
}
