//! What can go wrong, each with what is missing and the next step.

use std::time::Duration;

use kube::core::Status;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error("no cluster to talk to: {0}")]
    Config(String),
    /// No answer from the API server.
    #[error("the API server at {server} cannot be reached: {message}")]
    Unreachable { server: String, message: String },
    /// An answer that took too long.
    #[error("no answer to {verb} {resource} within {} s: try again, or wait longer with --request-timeout", deadline.as_secs_f32())]
    Deadline { verb: &'static str, resource: &'static str, deadline: Duration },
    /// The user may not do this.
    #[error(
        "no right to {verb} {resource} in namespace {namespace}: {message}\nask for it, or check it: kubectl auth can-i {verb} {resource} -n {namespace}"
    )]
    Forbidden { verb: &'static str, resource: &'static str, namespace: String, message: String },
    /// Who is not known at all.
    #[error("the API server does not know you (401): the credentials of this context are missing, wrong or expired")]
    Unauthorized,
    /// The resource is not there.
    #[error(
        "this cluster knows no WorkerClusters: install the operator first\n  helm install workercluster charts/workercluster-operator -n workercluster-system --create-namespace"
    )]
    NotInstalled,
    /// No WorkerCluster of this name.
    #[error("no WorkerCluster \"{name}\" in namespace {namespace}; {}", others_as_text(others.as_deref()))]
    NoSuchCluster { name: String, namespace: String, others: Option<Vec<String>> },
    /// The API server knows no such object, or no such resource: which is asked next.
    #[error("it is not there")]
    Missing,
    /// Somebody else changed it between our look and our write.
    #[error("{0} was changed by somebody else in this moment: look, and try again")]
    Conflict(String),
    /// Another refusal of the API server.
    #[error("the API server refuses to {verb} {resource}: {message}")]
    Answered { verb: &'static str, resource: &'static str, message: String },
    /// What came back cannot be read.
    #[error("{what} cannot be read: {message}; this plugin may be older than the operator")]
    Unreadable { what: String, message: String },
    /// This command will not do it, and why.
    #[error("{0}")]
    Refused(String),
    /// Nobody reads the output any more.
    #[error("nobody reads the output any more")]
    Unheard,
    /// What was waited for did not come about.
    #[error("{0}")]
    NotDone(String),
}

// === impl Error ===

impl Error {
    /// One answer of the API server, in terms of what was asked.
    pub fn answered(verb: &'static str, resource: &'static str, namespace: &str, status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden { verb, resource, namespace: namespace.into(), message },
            409 => Self::Conflict(message),
            _ => Self::Answered {
                verb,
                resource,
                message: if message.is_empty() { status.reason.clone() } else { message },
            },
        }
    }
}

fn others_as_text(others: Option<&[String]>) -> String {
    const SHOWN: usize = 10;
    let Some(others) = others else { return "those that are there cannot be listed".into() };
    match others {
        [] => "there are none; those of all namespaces: kubectl wc status -A".into(),
        _ if others.len() > SHOWN => {
            format!("there are {} and {} more", others[..SHOWN].join(", "), others.len() - SHOWN)
        }
        _ => format!("there are: {}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(others: &[&str]) -> String {
        let others = Some(others.iter().map(ToString::to_string).collect());
        Error::NoSuchCluster { name: "web".into(), namespace: "shop".into(), others }.to_string()
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        assert!(missing(&["api", "www"]).ends_with("there are: api, www"), "{}", missing(&["api", "www"]));
        assert!(missing(&[]).contains("kubectl wc status -A"));
        let many: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(missing(&many).ends_with("c9 and 2 more"), "{}", missing(&many));
    }

    #[test]
    fn a_missing_right_is_told_with_verb_and_resource() {
        let status = Status { code: 403, ..Status::failure("User \"eve\" cannot", "Forbidden") };
        let error = Error::answered("patch", "workerclusters", "shop", &status).to_string();
        assert!(error.starts_with("no right to patch workerclusters in namespace shop: User \"eve\""), "{error}");
        assert!(error.contains("kubectl auth can-i patch workerclusters -n shop"));
    }
}
