//! What goes in over the control socket; [`primary_protocol::Shown`] comes back from every call. JSON, camelCase; unknown
//! fields are refused going in and ignored coming back, so that a newer primary can say more.

use serde::{Deserialize, Serialize};

/// What can be asked for, beside looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `POST /v1/reload`
    Reload,
    /// `POST /v1/drain`
    Drain,
    /// `POST /v1/undrain`
    Undrain,
    /// `POST /v1/scale`
    Scale,
}

impl Task {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Reload, Self::Drain, Self::Undrain, Self::Scale];

    /// Where it is asked for.
    pub fn path(self) -> &'static str {
        match self {
            Self::Reload => "/v1/reload",
            Self::Drain => "/v1/drain",
            Self::Undrain => "/v1/undrain",
            Self::Scale => "/v1/scale",
        }
    }
}

/// The body of an order; each takes what is its own, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Document {
    /// `reload`: so many workers at a time; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// `drain` and `undrain`: this worker only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// `scale`: so many workers, or `max` for as many as the CPU limit allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
}
