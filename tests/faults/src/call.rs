//! What a call to the API server is: its verb, and the class of its path.

use std::{fmt, str::FromStr};

use http::Method;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// One object.
    Get,
    /// Many objects.
    List,
    /// Opening a watch.
    Watch,
    /// One line of a watch.
    Event,
    /// POST.
    Create,
    /// POST that stores nothing.
    DryRun,
    /// PUT.
    Update,
    /// PATCH of any kind but apply.
    Patch,
    /// Server-side apply.
    Apply,
    /// DELETE.
    Delete,
}

const VERBS: [(Verb, &str); 10] = [
    (Verb::Get, "get"),
    (Verb::List, "list"),
    (Verb::Watch, "watch"),
    (Verb::Event, "event"),
    (Verb::Create, "create"),
    (Verb::DryRun, "dry-run"),
    (Verb::Update, "update"),
    (Verb::Patch, "patch"),
    (Verb::Apply, "apply"),
    (Verb::Delete, "delete"),
];

/// Verb and class of a call, as `create pods` or `apply workerclusters/status`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// What it does.
    pub verb: Verb,
    /// The resource, with its subresource.
    pub class: String,
}

// === impl Verb ===

impl Verb {
    /// Whether the call changes something.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Apply | Self::Delete)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERBS.iter().find(|(verb, _)| verb == self).map_or("", |(_, word)| word))
    }
}

impl FromStr for Verb {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = VERBS.iter().find(|(_, word)| *word == text);
        found.map(|(verb, _)| *verb).ok_or_else(|| anyhow::anyhow!("{text} is no verb"))
    }
}

// === impl Call ===

impl Call {
    /// Reads a request.
    #[must_use]
    pub fn read(method: &Method, path: &str, query: &str, content_type: &str) -> Self {
        let (class, named) = class(path);
        let has = |wanted: &str| query.split('&').any(|pair| pair == wanted);
        let verb = match *method {
            Method::POST if has("dryRun=All") => Verb::DryRun,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH if content_type.starts_with("application/apply-patch") => Verb::Apply,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if has("watch=true") || has("watch=1") => Verb::Watch,
            _ if named => Verb::Get,
            _ => Verb::List,
        };
        Self { verb, class }
    }

    /// One of them.
    #[must_use]
    pub fn new(verb: Verb, class: &str) -> Self {
        Self { verb, class: class.into() }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.verb, self.class)
    }
}

/// The class of a path, and whether it names one object.
fn class(path: &str) -> (String, bool) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (["api", _, rest @ ..] | ["apis", _, _, rest @ ..]) = parts.as_slice() else { return (path.to_owned(), true) };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    match rest {
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, sub, ..] => (format!("{resource}/{sub}"), true),
        [] => (path.to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, path: &str, query: &str, content_type: &str) -> String {
        Call::read(method, path, query, content_type).to_string()
    }

    #[test]
    fn calls_are_told_apart_as_the_api_server_does() {
        let pods = "/api/v1/namespaces/shop/pods";
        let status = "/apis/workercluster.dev/v1alpha1/namespaces/shop/workerclusters/web/status";
        for (method, path, query, content, want) in [
            (Method::GET, pods, "labelSelector=a", "", "list:pods"),
            (Method::GET, pods, "labelSelector=a&watch=true", "", "watch:pods"),
            (Method::GET, "/api/v1/namespaces/shop/pods/web-1", "", "", "get:pods"),
            (Method::POST, pods, "fieldManager=x", "", "create:pods"),
            (Method::POST, pods, "fieldManager=x&dryRun=All", "", "dry-run:pods"),
            (Method::DELETE, "/api/v1/namespaces/shop/pods/web-1", "", "", "delete:pods"),
            (Method::PATCH, status, "", "application/apply-patch+yaml", "apply:workerclusters/status"),
            (Method::PATCH, status, "", "application/merge-patch+json", "patch:workerclusters/status"),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/shop/leases/x", "", "", "update:leases"),
            (Method::GET, "/apis/workercluster.dev/v1alpha1/workerclusters", "", "", "list:workerclusters"),
        ] {
            assert_eq!(read(&method, path, query, content), want, "{method} {path}?{query}");
        }
    }
}
