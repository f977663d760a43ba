//! Why a worker leaves.

/// Why a worker leaves although it has not died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All workers are replaced, as ordered.
    Reload,
    /// It uses more memory than it may.
    OverMemory,
    /// It has lived for as long as it may.
    OverAge,
    /// It makes no progress.
    Hung,
    /// Fewer workers are wanted.
    Surplus,
    /// Drained, as ordered.
    Drained,
    /// It was to show whether it binds the port, and did not.
    Trial,
    /// Nobody asked it: a Node worker left its cluster.
    ByItself,
    /// The replica ends.
    Stop,
}

impl Reason {
    /// Whether processes that the worker leaves behind may finish as well, until its deadline.
    pub(super) fn spares_group(self) -> bool {
        matches!(self, Self::Reload | Self::OverMemory | Self::OverAge | Self::Surplus | Self::Drained | Self::Stop)
    }

    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::OverMemory => "over its memory limit",
            Self::OverAge => "over its age limit",
            Self::Hung => "hung",
            Self::Surplus => "fewer workers are wanted",
            Self::Drained => "drained by order",
            Self::Trial => "it was to bind the port, and did not",
            Self::ByItself => "it left its cluster",
            Self::Stop => "the replica stops",
        }
    }
}

/// How many workers were replaced for which reason, since the primary started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By a reload.
    pub reloaded: u64,
    /// For their memory.
    pub over_memory: u64,
    /// For their age.
    pub over_age: u64,
    /// Found hung, and killed.
    pub hung: u64,
}

impl Tally {
    pub(super) fn add(&mut self, reason: Reason) {
        match reason {
            Reason::Reload => self.reloaded += 1,
            Reason::OverMemory => self.over_memory += 1,
            Reason::OverAge => self.over_age += 1,
            Reason::Hung => self.hung += 1,
            Reason::Surplus | Reason::Drained | Reason::Trial | Reason::ByItself | Reason::Stop => {}
        }
    }
}
