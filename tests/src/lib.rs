//! What the end-to-end tests share: a namespace of their own, waiting with a deadline that says what was seen, load, and figures.

pub mod figures;
pub mod kept;
pub mod kubectl;
pub mod load;
pub mod logs;
pub mod look;
pub mod manifest;
pub mod memory;
pub mod meter;
pub mod nodes;
pub mod observer;
pub mod schema;
pub mod space;
pub mod timeline;
pub mod wait;
pub mod watcher;

pub use kept::{Account, Kept};
pub use load::{Load, Report};
pub use logs::Logs;
pub use nodes::Nodes;
pub use observer::Observer;
pub use space::Space;
pub use timeline::Timeline;
pub use wait::until;
pub use watcher::Watcher;
