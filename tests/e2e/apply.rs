//! Applying: server-side, plain, again, and what kubectl then shows.
